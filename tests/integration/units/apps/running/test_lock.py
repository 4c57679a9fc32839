"""The lock of an app's deployments in root's commands, also before the first deployment."""

import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hookd.model.settings import Settings
from tests.support.rendered import SHOP
from units.apps import move
from units.apps.move import moving
from units.apps.running.lock import app_lock
from units.changes.apply import Installer
from units.changes.manifest import Manifest
from units.system.errors import HostError
from worker.errors import AppLocked
from worker.process.lock import app_lock as deployment_lock
from worker.process.lock import lock_holder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a host without a deployment, whose worker is a user of this machine."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    monkeypatch.setattr("units.apps.running.lock.pwd.getpwnam", lambda name: user)
    return Settings(state=tmp_path)


def is_locked(settings: Settings) -> bool:
    """Return True if a deployment of the shop cannot start."""
    try:
        with deployment_lock(settings.lock_path("shop"), "shop-first", 0):
            return False
    except AppLocked:
        return True


def test_first_deployment_waits(settings: Settings) -> None:
    with app_lock(SHOP, settings, "restore"):
        assert is_locked(settings)
        assert lock_holder(settings.lock_path("shop")) == "restore"
    assert not is_locked(settings)


def test_new_lock_is_the_worker_s(settings: Settings) -> None:
    worker = pwd.getpwnam("the worker")  # The fixture's user.
    with app_lock(SHOP, settings, "restore"):
        made = settings.lock_path("shop")
    found, directory = made.stat(), made.parent.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (worker.pw_uid, worker.pw_gid, 0o640)
    assert (directory.st_uid, directory.st_mode & 0o777) == (worker.pw_uid, 0o700)


def test_running_deployment_is_named(settings: Settings) -> None:
    lock = settings.lock_path("shop")
    with deployment_lock(lock, "shop-first", 0):
        shutil.chown(lock, pwd.getpwnam("manager").pw_uid)
        with pytest.raises(HostError, match="a deployment of shop runs") as caught, app_lock(SHOP, settings, "restore"):
            pass
    assert caught.value.hint == "hookd logs shop --follow"


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_link_is_no_lock(settings: Settings, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    """Root neither writes into the file of another nor changes its owner."""
    victim, lock = tmp_path / "victim", settings.lock_path("shop")
    victim.write_text("secret")
    lock.parent.mkdir()
    make(victim, lock)
    before = victim.stat()
    with pytest.raises(HostError) as caught, app_lock(SHOP, settings, "restore"):
        pass
    assert caught.value.hint == f"sudo namei -lx {lock}"
    assert (victim.read_text(), victim.stat().st_uid) == ("secret", before.st_uid)


def test_no_first_deployment_during_a_move(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(move, "links_are_protected", lambda: True)
    monkeypatch.setattr(move, "account_changes", lambda app: ())
    monkeypatch.setattr(move, "give_files", lambda app, of: ())
    monkeypatch.setattr("units.apps.running.services.active_services", lambda app: [])
    monkeypatch.setattr("units.apps.running.services.stop", lambda app: seen.append(is_locked(settings)))
    manifest = Manifest(settings.state / "manifest.json")
    with moving(SHOP, settings, manifest, Installer(manifest, "app:shop", lambda line: None)):
        seen.append(is_locked(settings))
    # Its units start after the move, and the start at boot takes the lock itself.
    assert seen == [True, False]
