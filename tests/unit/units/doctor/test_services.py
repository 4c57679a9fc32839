"""Checks of units, from systemd's states."""

import pytest

from hookd.model.journal import AppState
from hookd.model.tables.service import Colour
from tests.support.apps import app
from units.doctor.checks.services import check_reconcile_unit, check_unit, main_unit, serving_units
from units.system.systemd import Unit

UP = Unit("hookd.service", load="loaded", active="active", sub="running", file="enabled")
REMAKE = "sudo hookd setup"


def test_running_enabled_unit_passes() -> None:
    assert not list(check_unit(UP, REMAKE))


@pytest.mark.parametrize(
    ("changes", "level", "message", "hint"),
    [
        ({"load": "not-found"}, "error", "is missing", REMAKE),
        ({"load": "masked"}, "error", "masked", "sudo systemctl unmask hookd.service"),
        ({"load": "bad-setting"}, "error", "cannot load", "systemd-analyze verify"),
        ({"active": "failed", "result": "exit-code"}, "error", "failed (exit-code)", "journalctl --unit hookd.service"),
        ({"active": "activating", "sub": "auto-restart", "restarts": 7}, "error", "keeps restarting (7", "reset-f"),
        ({"active": "inactive", "sub": "dead"}, "error", "is not running", "sudo systemctl start hookd.service"),
        ({"file": "disabled"}, "warning", "does not start at boot", "sudo systemctl enable hookd.service"),
        ({"needs_reload": True}, "warning", "runs the old file", "sudo systemctl daemon-reload"),
    ],
)
def test_unit_problems_are_reported(changes: dict[str, object], level: str, message: str, hint: str) -> None:
    (found,) = check_unit(Unit(**{**vars(UP), **changes}), REMAKE)
    assert (found.level, message in found.message, hint in (found.hint or "")) == (level, True, True)


def test_old_restarts_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit(**{**vars(UP), "restarts": 2, "since": 10_000.0})
    monkeypatch.setattr("time.monotonic", lambda: 10_120.0)
    (found,) = check_unit(unit, REMAKE)
    assert (found.level, "2 times, last 2 min ago" in found.message) == ("warning", True)
    assert (found.hint or "").endswith("sudo systemctl reset-failed hookd.service")
    monkeypatch.setattr("time.monotonic", lambda: 20_000.0)
    assert not list(check_unit(unit, REMAKE))


def test_colour_may_be_disabled() -> None:
    assert not list(check_unit(Unit(**{**vars(UP), "file": "disabled"}), REMAKE, is_enabled=False))


def test_parent_unit_may_be_inactive() -> None:
    resting = Unit(**{**vars(UP), "active": "inactive", "sub": "dead"})
    assert not list(check_unit(resting, REMAKE, may_be_inactive=True))
    failed = Unit(**{**vars(UP), "active": "failed", "result": "exit-code"})
    assert [one.level for one in check_unit(failed, REMAKE, may_be_inactive=True)] == ["error"]


@pytest.mark.parametrize(("colour", "idle"), [("blue", "green"), ("green", "blue")])
def test_idle_colour_is_not_checked(colour: Colour, idle: str) -> None:
    names = serving_units(app(), AppState(colour=colour))
    assert {f"shop-{colour}.service", f"shop-{colour}-health.socket", "shop.socket", "shop.service"} == set(names)
    assert not [name for name in names if idle in name]
    assert main_unit(app(), AppState(colour=colour)) == f"shop-{colour}.service"


def test_restart_app_has_one_service() -> None:
    assert set(serving_units(app("restart"), AppState())) == {"shop.socket", "shop.service"}
    assert main_unit(app("restart"), AppState()) == "shop.service"
    assert serving_units(app("restart", "existing"), AppState()) == ("shop.service",)


@pytest.mark.threat(39)
def test_failed_reconciler_is_an_error() -> None:
    unit = Unit("hookd-reconcile.service", load="loaded")
    assert not list(check_reconcile_unit(unit))
    (failed,) = check_reconcile_unit(Unit(**{**vars(unit), "active": "failed", "result": "exit-code"}))
    assert (failed.level, "failed (exit-code)" in failed.message) == ("error", True)
    assert "sudo systemctl start hookd-reconcile.service" in (failed.hint or "")
    (gone,) = check_reconcile_unit(Unit("hookd-reconcile.service"))
    assert (gone.level, gone.hint) == ("error", "sudo hookd setup")
