"""Control and observe an app's services, through systemd or circus."""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from hookd.files.links import link_changed_at
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState
from hookd.model.settings import AppPaths
from hookd.model.units.systemctl import Verb, parse_show
from worker.context import AppTask
from worker.errors import CommandFailed, ReleaseKilled, ServiceMissing, Unhealthy
from worker.process.run import Command, lines_of
from worker.process.systemctl import cat_command, control_command, number, show_command, show_unit
from worker.service import circus
from worker.service.drift import (
    DesiredState,
    DriftReport,
    LinkState,
    ServiceSnapshot,
    ServiceState,
    detect_drift,
    process_names,
    stop_indicator,
)
from worker.service.health import wait_until_healthy
from worker.service.listener import find_stranger

# systemctl warns that a stopped service still has sockets. They are intended: visitors wait in them.
_EXPECTED_OUTPUT: Final = re.compile(
    r"(Warning: )?Stopping '?\S+?'?, but (it can still be activated by|its triggering units are still active):"
    r"|\s*[\w@.-]+\.socket"
)
# The status text of a service that refused its release (units/in_app/hookd_app/refusal.py).
_REFUSED: Final = "refused: "
# The longest text of it, and the longest wait for its end.
_MAX_REFUSAL: Final = 1024
_REFUSAL_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.1
_STATUS: Final = re.compile(r"release (/.+)")
_STARTED: Final = re.compile(r"\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def control(task: AppTask, verb: Verb, name: str) -> None:
    """Start, stop or restart a service and wait for it.

    Raises CommandFailed, or ServiceMissing if the process manager does not answer or does not know the service.
    """
    try:
        if task.app.uses_systemd:
            limits = task.app.limits
            task.run(control_command(verb, name, limits.step_seconds, limits.silence_seconds), is_unexpected)
        else:
            circus.control(task, verb, name)
    except CommandFailed:
        _check_manager(task, name)
        raise


def is_unexpected(line: str) -> bool:
    """Return True if a line of systemctl's output belongs in the log."""
    return _EXPECTED_OUTPUT.fullmatch(line) is None


def _check_manager(task: AppTask, name: str) -> None:
    """Raise ServiceMissing if the process manager does not answer or does not know the service."""
    service, unit = task.app.service, f"{name}.service"
    try:
        if task.app.uses_systemd:
            lines_of(cat_command(unit))
        else:
            circus.ask(service, "status", name)
    except CommandFailed as error:
        place = f" at {service.endpoint}" if service.endpoint else ""
        circus_hint = Hint(HintKind.SHOW_CIRCUS, str(service.endpoint))
        raise ServiceMissing(
            f"{service.manager} knows no service {name}, or does not answer{place}: {error.cause}",
            hint=Hint(HintKind.SHOW_UNIT, unit) if task.app.uses_systemd else circus_hint,
        ) from None


def verify_health(task: AppTask, name: str, colour: str | None) -> None:
    """Wait until a service passes the app's health check. Raises Unhealthy with the reason that the service gives.

    Raises ReleaseKilled if another user holds the app's port, which proves nothing about the release.
    """
    try:
        wait_until_healthy(task.app.health, colour, task.recorder.line, lambda: _processes(task.app, name))
    except Unhealthy as error:
        if stranger := find_stranger(task.app):
            raise ReleaseKilled(stranger) from None
        if error.is_silent or not (reason := _read_refusal(task, name, colour)):
            raise
        raise Unhealthy(reason) from None
    if stranger := find_stranger(task.app):
        raise ReleaseKilled(stranger)


def forget_refusal(task: AppTask, colour: str | None) -> None:
    """Remove the reason of an earlier start. systemd forgets it by itself."""
    if not task.app.uses_systemd:
        _refusal_file(task, colour).unlink(missing_ok=True)


def _refusal_file(task: AppTask, colour: str | None) -> Path:
    """Return the file in which a service of circus writes why it refused its release."""
    return task.paths.root / f"{colour or 'current'}.refused"


def _read_refusal(task: AppTask, name: str, colour: str | None) -> str:
    """Return why a service refused its release, which it publishes at its end, or ""."""
    end = time.monotonic() + _REFUSAL_SECONDS
    while True:
        reason, is_running = _refusal_of(task, name, colour)
        if reason or not is_running or time.monotonic() >= end:
            return " ".join(reason.split())
        time.sleep(_PAUSE_SECONDS)


def _refusal_of(task: AppTask, name: str, colour: str | None) -> tuple[str, bool]:
    """Return why a service refused its release, and if it still runs."""
    if task.app.uses_systemd:
        with suppress(CommandFailed):
            found = show_unit(f"{name}.service", "StatusText,MainPID")
            is_refused = found.get("StatusText", "").startswith(_REFUSED)
            return found["StatusText"].removeprefix(_REFUSED) if is_refused else "", bool(number(found, "MainPID"))
        return "", False
    with suppress(OSError):
        file = open_regular_file(_refusal_file(task, colour))
        with TextIOWrapper(file, encoding="utf-8", errors="replace") as stream:
            return stream.read(_MAX_REFUSAL), False
    return "", True


def service_log_hint(task: AppTask, name: str) -> Hint:
    """Return the hint to the service's own log, or to the deployment's with circus, which keeps no log."""
    return Hint(HintKind.SHOW_UNIT_LOG, f"{name}.service") if task.app.uses_systemd else Hint(HintKind.SHOW_LOG)


def _processes(app: App, name: str) -> tuple[str, ...]:
    if not app.uses_systemd:
        return circus.process_ids(app.service, name)
    return tuple(lines_of(show_command("MainPID,NRestarts", f"{name}.service")))


def states_command(*units: str) -> Command:
    """Print the state of systemd units, and the start, the status text and the used time of their processes."""
    return show_command("Id,LoadState,ActiveState,ExecMainStartTimestamp,StatusText,CPUUsageNSec", *units)


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


def read_service_state(app: App, name: str) -> ServiceState:
    """Return the state of one service. Raises CommandFailed."""
    return _states(app, [name]).get(name, ServiceState())


def _service_states(app: App) -> dict[str, ServiceState]:
    # circus knows no socket units.
    more = filter(None, (stop_indicator(app),)) if app.uses_systemd else ()
    processes = (name for colour in app.colours or (None,) for name in process_names(app, colour))
    return _states(app, sorted({*app.services, *processes, *more}))


def _states(app: App, names: Sequence[str]) -> dict[str, ServiceState]:
    if not app.uses_systemd:
        return {name: circus.watcher_state(app, name) for name in names}
    units = [name if name.endswith(".socket") else f"{name}.service" for name in names]
    found = read_states(lines_of(states_command(*units)))
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
        int(used) if (used := unit.get("CPUUsageNSec", "")).isdecimal() else None,
    )


def _link_states(app: App, paths: AppPaths) -> dict[str, LinkState]:
    links = [paths.current, *map(paths.colour, app.colours)]
    return {link.name: LinkState(os.path.realpath(link), link_changed_at(link)) for link in links if link.is_symlink()}
