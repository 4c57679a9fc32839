"""Root may deploy in a sandbox of its own, and never on a server."""

import os
from pathlib import Path

import pytest

from hookd.config import DEFAULT, Config
from hookd.model.catalogue import Catalogue
from hookd.model.settings import Settings
from hookd.owner import WrongUser, require_owner

PASSWORDS = {"passwords": "/etc/hookd/redis"}


def config(state: Path, path: Path = DEFAULT, redis: dict[str, str] | None = None) -> Config:
    return Config(path, Settings.model_validate({"state": state, "redis": redis or {}}), Catalogue())


@pytest.fixture
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.threat(26)
@pytest.mark.usefixtures("_root")
def test_root_runs_no_pushes_on_servers() -> None:
    """Refuse also where the state is missing."""
    with pytest.raises(WrongUser, match="root deploys nothing on a server") as refused:
        require_owner(config(Path("/nowhere/state"), redis=PASSWORDS))
    assert refused.value.hint == "sudo systemctl start hookd-worker@1.service"


@pytest.mark.usefixtures("_root")
def test_root_has_its_own_sandbox() -> None:
    require_owner(config(Path("/nowhere/state")))
    require_owner(config(Path("/nowhere/state"), Path("/sandbox/hookd.toml"), PASSWORDS))


def test_owner_passes(tmp_path: Path) -> None:
    require_owner(config(tmp_path, tmp_path / "hookd.toml"))


@pytest.mark.threat(26)
def test_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(WrongUser, match=f"{tmp_path} belongs to .*, and this is"):
        require_owner(config(tmp_path))
