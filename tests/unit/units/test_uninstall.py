"""The plan of an uninstallation, for hosts that no test server is."""

from dataclasses import replace
from pathlib import Path

import pytest

from hookd.model.catalogue import Catalogue
from tests.support.rendered import HOST
from units import uninstall
from units.apps.manage import Server
from units.changes.change import Absent, Run
from units.changes.manifest import Manifest, Resource

PROFILES = ("/etc/apparmor.d/hookd-receiver", "/etc/apparmor.d/hookd-apps")


def test_profiles_are_removed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppArmor forgets them before their files go, and loads none of them again."""
    monkeypatch.setattr(uninstall, "succeeds", lambda argv: False)
    manifest = Manifest(Path("/nowhere"), [Resource("host", "file", path) for path in PROFILES])
    server = Server(replace(HOST, loads_apparmor=True), manifest, Catalogue())
    changes = uninstall._changes(server, (), ())
    commands = [change.argv for change in changes if isinstance(change, Run) and change.argv[0] == "apparmor_parser"]
    assert commands == [("apparmor_parser", "--remove", path) for path in PROFILES]
    kinds = [
        type(change) for change in changes if getattr(change, "argv", ("apparmor_parser",))[0] == "apparmor_parser"
    ]
    assert kinds == [Run, Run, Absent, Absent]
