"""The units: there, running, coming back after a reboot, and not in a circle of failing and starting."""

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

GOOD: Final = "every unit runs and comes back after a reboot"
GOOD_APP: Final = "the app's units run and come back after a reboot"
_ENABLED_STATES: Final = ("enabled", "enabled-runtime", "alias", "static", "generated", "indirect")
_RECENT_SECONDS: Final = 600


def check(subject: HostContext) -> Iterator[Finding]:
    """Look at hookd's own units."""
    for name in HOST_UNITS:
        yield from check_unit(subject.unit(name), "sudo hookd setup")
    yield from check_reconcile_unit(subject.unit(layout.RECONCILE))


def check_reconcile_unit(unit: Unit) -> Iterator[Finding]:
    """Judge what a timer starts to look for lost pushes: it is there for a moment, and must not fail."""
    if unit.load != "loaded":
        yield error(f"there is no unit {unit.name}: a push whose webhook gets lost is not deployed", "sudo hookd setup")
    elif unit.active == "failed":
        again = f"journalctl --unit {unit.name} --lines 50; sudo systemctl start {unit.name}"
        yield error(f"{unit.name} fails ({unit.result}): a push whose webhook gets lost is not deployed", again)


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Look at an app's units; of two colours, only at the one that serves."""
    names = units_of(app)
    if not names:
        yield ok(f"{app.name} is run by {app.service.manager}, which is not looked at")
        return
    state = subject.state(app)
    if state.current is None:
        yield warning(f"{app.name} has never been deployed, and serves nothing", f"sudo hookd deploy {app.name}")
        return
    units = [subject.unit(name) for name in names]
    if all(unit.active == "inactive" for unit in units):
        yield warning(f"{app.name} is stopped: visitors get no answer", f"sudo hookd start {app.name}")
        return
    answers = subject.unit(main_unit(app, state))
    for name in serving_units(app, state):
        # A colour is started by a deployment, and after a reboot by the unit that knows which one serves. That unit is
        # at rest when the app was stopped, and a deployment started it again.
        may_be_inactive = answers.is_up and name != answers.name and name == f"{app.service_name}.service"
        unit = subject.unit(name)
        yield from check_unit(
            unit, "sudo hookd setup", comes_back=not _is_colour(app, name), may_be_inactive=may_be_inactive
        )


def serving_units(app: App, state: AppState) -> tuple[str, ...]:
    """The units of an app that must run now."""
    idle = {"blue": "green", "green": "blue"}.get(state.colour or "")
    return tuple(name for name in units_of(app) if idle is None or not name.startswith(f"{app.service_name}-{idle}"))


def main_unit(app: App, state: AppState) -> str:
    """The unit whose processes answer visitors."""
    if app.service.handover == "restart" or state.colour is None:
        return f"{app.service_name}.service"
    return f"{app.service_name}-{state.colour}.service"


def _is_colour(app: App, name: str) -> bool:
    return name.startswith((f"{app.service_name}-blue", f"{app.service_name}-green"))


def check_unit(unit: Unit, remake: str, *, comes_back: bool = True, may_be_inactive: bool = False) -> Iterator[Finding]:
    """Say what is wrong with one unit; `remake` is what writes its file again, and one that `may_rest` need not run."""
    match unit.load:
        case "not-found":
            yield error(f"there is no unit {unit.name}", remake)
            return
        case "masked":
            yield error(f"{unit.name} is masked and cannot start", f"sudo systemctl unmask {unit.name}")
            return
        case "loaded":
            if not (may_be_inactive and unit.active == "inactive"):
                yield from _check_running(unit)
        case _:
            check = f"systemd-analyze verify {unit.name}; {remake}"
            yield error(f"systemd cannot read {unit.name} ({unit.load})", check)
            return
    if comes_back and unit.file not in _ENABLED_STATES:
        again = f"sudo systemctl enable {unit.name}"
        yield warning(f"{unit.name} does not come back after a reboot (it is {unit.file or 'not enabled'})", again)
    if unit.needs_reload:
        reload = f"sudo systemctl daemon-reload && sudo systemctl restart {unit.name}"
        yield warning(f"the file of {unit.name} was changed, and systemd runs the old one", reload)


def _check_running(unit: Unit) -> Iterator[Finding]:
    log, start = f"journalctl --unit {unit.name} --lines 50", f"sudo systemctl restart {unit.name}"
    if unit.active == "failed":
        yield error(f"{unit.name} has failed ({unit.result})", f"{log}; {start}")
    elif unit.sub == "auto-restart":
        yield error(f"{unit.name} ends again and again ({unit.restarts} times; {unit.result})", f"{log}; {start}")
    elif unit.active == "inactive":
        yield error(f"{unit.name} does not run", f"sudo systemctl start {unit.name}")
    elif unit.is_up and unit.restarts and _up_seconds(unit) < _RECENT_SECONDS:
        since = f"the last time {_up_seconds(unit) / 60:.0f} min ago"
        yield warning(f"{unit.name} ended by itself and was started again ({unit.restarts} times, {since})", log)


def _up_seconds(unit: Unit) -> float:
    return time.monotonic() - unit.since
