"""The plan of an uninstallation, for hosts that no test server is."""

from dataclasses import replace
from pathlib import Path

import pytest

from hookd.model.catalogue import Catalogue
from tests.support.rendered import HOST
from units import uninstall
from units.apps.manage import Server
from units.plan.manifest import Manifest, Resource
from units.plan.steps import Absent, Run

PROFILES = ("/etc/apparmor.d/hookd-receiver", "/etc/apparmor.d/hookd-apps")


def test_profiles_are_removed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppArmor forgets them before their files go, and loads none of them again."""
    monkeypatch.setattr(uninstall, "succeeds", lambda argv: False)
    manifest = Manifest(Path("/nowhere"), [Resource("host", "file", path) for path in PROFILES])
    server = Server(replace(HOST, loads_apparmor=True), manifest, Catalogue())
    plan = uninstall._plan(server, (), ())
    commands = [step.argv for step in plan if isinstance(step, Run) and step.argv[0] == "apparmor_parser"]
    assert commands == [("apparmor_parser", "--remove", path) for path in PROFILES]
    kinds = [type(step) for step in plan if getattr(step, "argv", ("apparmor_parser",))[0] == "apparmor_parser"]
    assert kinds == [Run, Run, Absent, Absent]
