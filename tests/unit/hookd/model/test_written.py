"""The command that shares the directories into which an app wrote."""

from pathlib import Path

import pytest

from hookd.model.hint import render_hint
from hookd.model.written import WrittenFiles
from tests.support.tasks import make_app


@pytest.mark.parametrize(
    ("found", "shared", "command"),
    [
        (("instance",), (), "'shared.directories=[\"instance\"]'"),
        ((".data", "var/uploads"), ("media",), '\'shared.directories=["media",".data","var/uploads"]\''),
        (("var",), ("var/cache", "media"), '\'shared.directories=["media","var"]\''),
        (("instance",), ("instance",), None),
        (("var/cache",), ("var",), None),
        (("a'; reboot; '", "--x", "../up"), (), None),
        ((), (), None),
    ],
)
def test_share_command(tmp_path: Path, found: tuple[str, ...], shared: tuple[str, ...], command: str | None) -> None:
    app = make_app(tmp_path, shared={"directories": shared})
    files = WrittenFiles(release="000001-000000000001", number=1, paths=("x",), directories=found)
    hint = files.hint(app)
    expected = None if command is None else f"sudo hookd app edit shop --set {command}"
    assert (hint and render_hint(hint, "shop")) == expected
