"""Units of hookd and its apps: present, running, enabled at boot, and not restarting in a loop."""

import time
from collections.abc import Iterator
from typing import Final

from hookd.model.app import App
from hookd.model.journal import AppState
from units.apps.plan import units_of
from units.doctor.context import HOST_UNITS, HostContext
from units.doctor.finding import Finding, error, ok, warning
from units.system import layout
from units.system.systemd import Unit

_SETUP: Final = "sudo hookd setup"
_ENABLED_STATES: Final = ("enabled", "enabled-runtime", "alias", "static", "generated", "indirect")
_RECENT_SECONDS: Final = 600


def check(context: HostContext) -> Iterator[Finding]:
    """Check hookd's own units."""
    for name in HOST_UNITS:
        yield from check_unit(context.unit(name), _SETUP)
    yield from check_reconcile_unit(context.unit(layout.RECONCILE))


def check_reconcile_unit(unit: Unit) -> Iterator[Finding]:
    """Check the last run of the reconciler, which its timer starts for a moment."""
    if unit.load != "loaded":
        yield error(f"{unit.name} is missing: lost pushes stay undeployed", _SETUP)
    elif unit.active == "failed":
        hint = f"journalctl --unit {unit.name} --lines 50; sudo systemctl start {unit.name}"
        yield error(f"{unit.name} failed ({unit.result}): lost pushes stay undeployed", hint)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's units, except those of the idle colour."""
    names = units_of(app)
    if not names:
        yield ok(f"{app.service.manager} runs {app.name}, its units were not checked")
        return
    state = context.app_state(app)
    if state.current is None:
        yield warning(f"{app.name} was never deployed", f"sudo hookd deploy {app.name}")
        return
    if all(context.unit(name).active == "inactive" for name in names):
        yield warning(f"{app.name} is stopped", f"sudo hookd start {app.name}")
        return
    main = context.unit(main_unit(app, state))
    for name in serving_units(app, state):
        # A deployment starts a colour. After a reboot the parent unit starts it. The parent unit is inactive if a
        # deployment started the app after a stop.
        may_be_inactive = main.is_up and name != main.name and name == f"{app.service_name}.service"
        is_colour = name.startswith((f"{app.service_name}-blue", f"{app.service_name}-green"))
        yield from check_unit(context.unit(name), _SETUP, is_enabled=not is_colour, may_be_inactive=may_be_inactive)


def serving_units(app: App, state: AppState) -> tuple[str, ...]:
    """Return the units that must run now."""
    idle = {"blue": "green", "green": "blue"}.get(state.colour or "")
    return tuple(name for name in units_of(app) if idle is None or not name.startswith(f"{app.service_name}-{idle}"))


def main_unit(app: App, state: AppState) -> str:
    """Return the service that answers visitors."""
    if app.service.handover == "restart" or state.colour is None:
        return f"{app.service_name}.service"
    return f"{app.service_name}-{state.colour}.service"


def check_unit(
    unit: Unit, install: str, *, is_enabled: bool = True, may_be_inactive: bool = False
) -> Iterator[Finding]:
    """Check one unit. `install` is the command that writes its file again."""
    match unit.load:
        case "not-found":
            yield error(f"{unit.name} is missing", install)
            return
        case "masked":
            yield error(f"{unit.name} is masked and cannot start", f"sudo systemctl unmask {unit.name}")
            return
        case "loaded":
            if not (may_be_inactive and unit.active == "inactive"):
                yield from _check_running(unit)
        case _:
            hint = f"systemd-analyze verify {unit.name}; {install}"
            yield error(f"systemd cannot load {unit.name} ({unit.load})", hint)
            return
    if is_enabled and unit.file not in _ENABLED_STATES:
        state = unit.file or "not enabled"
        yield warning(f"{unit.name} does not start at boot ({state})", f"sudo systemctl enable {unit.name}")
    if unit.needs_reload:
        reload = f"sudo systemctl daemon-reload && sudo systemctl restart {unit.name}"
        yield warning(f"{unit.name} changed on disk, systemd runs the old file", reload)


def _check_running(unit: Unit) -> Iterator[Finding]:
    show_log, start = f"journalctl --unit {unit.name} --lines 50", f"sudo systemctl restart {unit.name}"
    up_seconds = time.monotonic() - unit.since
    if unit.active == "failed":
        yield error(f"{unit.name} failed ({unit.result})", f"{show_log}; {start}")
    elif unit.sub == "auto-restart":
        yield error(f"{unit.name} keeps restarting ({unit.restarts} times; {unit.result})", f"{show_log}; {start}")
    elif unit.active == "inactive":
        yield error(f"{unit.name} is not running", f"sudo systemctl start {unit.name}")
    elif unit.is_up and unit.restarts and up_seconds < _RECENT_SECONDS:
        times = f"{unit.restarts} times, last {up_seconds / 60:.0f} min ago"
        yield warning(f"{unit.name} ended and was restarted ({times})", show_log)
