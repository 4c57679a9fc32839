"""Control and observe an app's services, through systemd or circus."""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from hookd.model.app import App, Limits
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState
from hookd.model.settings import AppPaths
from hookd.model.systemctl import SUDO, SYSTEMCTL, Verb, parse_show
from worker.context import AppTask
from worker.errors import CommandFailed, ServiceMissing
from worker.process.run import SYSTEM_PATH, Command, lines_of
from worker.release.links import link_changed_at
from worker.service import circus
from worker.service.drift import (
    DesiredState,
    DriftReport,
    LinkState,
    ServiceSnapshot,
    ServiceState,
    detect_drift,
    stop_indicator,
)
from worker.service.health import wait_until_healthy

# systemctl warns that a stopped service still has sockets. They are intended: visitors wait in them.
_EXPECTED_OUTPUT: Final = re.compile(
    r"(Warning: )?Stopping '?\S+?'?, but (it can still be activated by|its triggering units are still active):"
    r"|\s*[\w@.-]+\.socket"
)
_STATUS: Final = re.compile(r"release (/.+)")
_STARTED: Final = re.compile(r"\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def control(task: AppTask, verb: Verb, name: str) -> None:
    """Start, stop or restart a service and wait for it.

    Raises CommandFailed, or ServiceMissing if the process manager does not answer or does not know the service.
    """
    try:
        if task.app.service.manager == "circus":
            circus.control(task, verb, name)
        else:
            task.run(control_command(verb, name, task.app.limits), is_unexpected)
    except CommandFailed:
        _check_manager(task, name)
        raise


def is_unexpected(line: str) -> bool:
    """Return True if a line of systemctl's output belongs in the log."""
    return _EXPECTED_OUTPUT.fullmatch(line) is None


def _check_manager(task: AppTask, name: str) -> None:
    """Raise ServiceMissing if the process manager does not answer or does not know the service."""
    service = task.app.service
    try:
        if service.manager == "circus":
            circus.ask(service, "status", name)
        else:
            lines_of(_command((SYSTEMCTL, "cat", f"{name}.service"), task.app.limits))
    except CommandFailed as error:
        place = f" at {service.endpoint}" if service.endpoint else ""
        is_systemd = service.manager == "systemd"
        raise ServiceMissing(
            f"{service.manager} knows no service {name}, or does not answer{place}: {error.cause}",
            hint=Hint(HintKind.SHOW_UNIT, f"{name}.service")
            if is_systemd
            else Hint(HintKind.SHOW_CIRCUS, str(service.endpoint)),
        ) from None


def verify_health(task: AppTask, name: str, colour: str | None) -> None:
    """Wait until a service passes the app's health check. Raises Unhealthy."""
    wait_until_healthy(task.app.health, colour, task.recorder.line, lambda: _processes(task.app, name))


def service_log_hint(task: AppTask, name: str) -> Hint:
    """Return the hint to the service's own log, or to the deployment's with circus, which keeps no log."""
    is_systemd = task.app.service.manager == "systemd"
    return Hint(HintKind.SHOW_UNIT_LOG, f"{name}.service") if is_systemd else Hint(HintKind.SHOW_LOG)


def _processes(app: App, name: str) -> tuple[str, ...]:
    if app.service.manager == "circus":
        return circus.process_ids(app.service, name)
    return tuple(lines_of(processes_command(name, app.limits)))


def control_command(verb: Verb, name: str, limits: Limits) -> Command:
    """Start, stop or restart a systemd service and wait for it."""
    return _command((SUDO, "-n", SYSTEMCTL, verb, f"{name}.service"), limits)


def processes_command(name: str, limits: Limits) -> Command:
    """Print the main process of a systemd service and the number of its restarts. Needs no privilege."""
    return _command((SYSTEMCTL, "show", "--property=MainPID", "--property=NRestarts", f"{name}.service"), limits)


def states_command(units: tuple[str, ...], limits: Limits) -> Command:
    """Print the state of systemd units, the start of their processes, and the status text that these report."""
    properties = "--property=Id,LoadState,ActiveState,ExecMainStartTimestamp,StatusText"
    return _command((SYSTEMCTL, "show", "--timestamp=us+utc", properties, "--", *units), limits)


def _command(argv: tuple[str, ...], limits: Limits) -> Command:
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": SYSTEM_PATH})


def inspect_app(app: App, state: AppState, paths: AppPaths) -> DriftReport:
    """Compare what runs with the release that should serve according to the journal."""
    serving = state.deployed
    if serving is None:
        return DriftReport("nothing was deployed yet")
    if not state.verified or (app.service.handover == "blue-green") != (state.colour is not None):
        return DriftReport("the next deployment decides what runs")
    desired = DesiredState(serving.name, os.path.realpath(paths.release(serving.name)), state.colour)
    try:
        snapshot = ServiceSnapshot(_service_states(app), _link_states(app, paths))
    except CommandFailed as error:
        return DriftReport(f"{app.service.manager} does not say what runs: {error.cause}")
    return detect_drift(app, desired, snapshot)


def _service_states(app: App) -> dict[str, ServiceState]:
    if app.service.manager == "circus":
        return {name: circus.watcher_state(app, name) for name in sorted(app.services)}
    names = {*app.services, *filter(None, (stop_indicator(app),))}
    units = sorted(name if name.endswith(".socket") else f"{name}.service" for name in names)
    found = read_states(lines_of(states_command(tuple(units), app.limits)))
    return {name.removesuffix(".service"): unit for name, unit in found.items()}


def read_states(lines: Iterable[str]) -> dict[str, ServiceState]:
    """Read the output of `states_command`: the state of each unit by the unit's name."""
    return {unit["Id"]: _service_state(unit) for unit in parse_show(lines) if "Id" in unit}


def _service_state(unit: Mapping[str, str]) -> ServiceState:
    if unit.get("LoadState") == "not-found":
        return ServiceState()
    directory = _STATUS.fullmatch(unit.get("StatusText", ""))
    started = _STARTED.fullmatch(unit.get("ExecMainStartTimestamp", ""))
    return ServiceState(
        unit.get("ActiveState", "missing"),
        datetime.fromisoformat(started[1]).replace(tzinfo=UTC).timestamp() if started else None,
        directory[1] if directory else None,
    )


def _link_states(app: App, paths: AppPaths) -> dict[str, LinkState]:
    colours = ("blue", "green") if app.service.handover == "blue-green" else ()
    links = [paths.current, *map(paths.colour, colours)]
    return {link.name: LinkState(os.path.realpath(link), link_changed_at(link)) for link in links if link.is_symlink()}
