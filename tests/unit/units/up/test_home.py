"""The directory of `hookd up` is this user's alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.config import own_configs
from units.system.errors import HostError
from units.up.home import Home, default_home, write_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The app's directory of a user whose files are open to all."""
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0)
    yield default_home("shop")
    os.umask(before)


@pytest.mark.threat(87)
def test_all_directories_are_private(home: Home) -> None:
    write_settings(home, 8787)
    home.require_private()
    made = [home.directory.parent, home.directory, home.app_file.parent, home.secret_file.parent, home.root]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}
    assert own_configs() == [home.config_file]


@pytest.mark.threat(87)
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("place", ["parent", "directory"])
def test_open_directory_is_refused(home: Home, mode: int, place: str) -> None:
    """Another user could put an app of his own in its place."""
    write_settings(home, 8787)
    (home.directory if place == "directory" else home.directory.parent).chmod(mode)
    with pytest.raises(HostError, match="other users may change"):
        home.require_private()


@pytest.mark.threat(87)
def test_planted_settings_are_not_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(home, 8787)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert own_configs() == []
    with pytest.raises(HostError, match="belongs to another user"):
        home.require_private()
