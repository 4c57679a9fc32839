"""The end of an app's units, with those that use its data."""

from pathlib import Path

import pytest

from tests.support.rendered import SHOP
from units.apps.running import services
from units.changes.manifest import Manifest, Resource
from units.system import layout

RESTORE, DUMP = "shop-restore.service", "shop-dump.service"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Return the commands that the test runs, on a host whose units lie in `tmp_path`."""
    commands: list[tuple[str, ...]] = []

    def record(argv: tuple[str, ...], **_: object) -> str:
        commands.append(argv)
        return ""

    monkeypatch.setattr(layout, "SYSTEMD", tmp_path)
    monkeypatch.setattr(services, "run", record)
    monkeypatch.setattr(services, "succeeds", lambda argv: True)
    return commands


def test_stop_ends_a_restore(ran: list[tuple[str, ...]]) -> None:
    for unit in (RESTORE, DUMP):
        (layout.SYSTEMD / unit).touch()
    services.stop(SHOP)
    assert {RESTORE, DUMP} <= set(ran[-1])


def test_stop_names_no_missing_unit(ran: list[tuple[str, ...]]) -> None:
    """`systemctl stop` fails for a unit that does not exist."""
    services.stop(SHOP)
    assert not {RESTORE, DUMP} & set(ran[-1])


@pytest.mark.usefixtures("ran")
def test_removal_stops_hookd_s_own_phases() -> None:
    """A phase of an earlier configuration stops, but not another person's unit of that name."""
    own = ("shop-build.service", DUMP, RESTORE)
    manifest = Manifest(Path("/nowhere"), [Resource("app:shop", "file", str(layout.SYSTEMD / unit)) for unit in own])
    stop, *_ = services.stop_commands([SHOP], manifest)
    assert {*own} <= set(stop.argv)
    assert "shop-release.service" not in stop.argv
