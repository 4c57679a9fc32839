"""Commands of root on a host without hookd: a refusal changes nothing."""

from pathlib import Path

import pytest

from tests.support.typed import typed
from tests.support.users import needs_root
from units.cli import common
from units.system import layout

pytestmark = needs_root


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The places of a host without hookd."""
    for name in ("CONFIG", "CURRENT", "PYTHON", "SETUP_STATE", "MANIFEST"):
        monkeypatch.setattr(layout, name, tmp_path / "none" / name)
    monkeypatch.setattr(common, "_require_own_config", lambda: None)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("setup",), "hookd: nothing was changed:\n"),
        (("secret", "rotate", "shop"), "hookd: hookd is not installed on this host\n"),
        (("app", "remove", "shop"), "hookd: hookd is not installed on this host\n"),
    ],
)
def test_refusal_leaves_no_lock(bare: Path, arguments: tuple[str, ...], message: str) -> None:
    done = typed(layout.CONFIG, *arguments)
    assert (done.exit_code, done.stderr.startswith(message)) == (2, True), done.stderr
    assert done.stderr.endswith("\n  next: sudo ./run install\n")
    assert list(bare.iterdir()) == []
