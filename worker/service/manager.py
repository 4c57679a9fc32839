"""An app's services as a deployment sees them: start, stop, restart, wait until one is well, and where it logs."""

import fcntl
import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd.model.app import App, Limits, Service
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState
from hookd.model.paths import AppPaths
from hookd.model.sudo import SUDO, SYSTEMCTL, Verb
from worker.context import Task
from worker.errors import CommandFailed, ServiceMissing
from worker.process.run import _SYSTEM_PATH, Command, run
from worker.release.symlinks import link_changed_at
from worker.service.circus import circus_argv
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

_BUSY_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 5  # For circus's answer to a question; starting and stopping may take as long as a step.
# systemctl's warning that a stopped service has sockets, which are what keeps visitors waiting instead of failing.
_EXPECTED_OUTPUT: Final = re.compile(
    r"(Warning: )?Stopping '?\S+?'?, but (it can still be activated by|its triggering units are still active):"
    r"|\s*[\w@.-]+\.socket"
)


def control(task: Task, verb: Verb, name: str) -> None:
    """Start, stop or restart a service; raises CommandFailed, and ServiceMissing when it is the manager's fault."""
    command = control_command(task.app.service, verb, name, task.app.limits)
    try:
        if task.app.service.manager == "systemd":
            task.run(command, is_unexpected)
        else:
            _run_circus(task, command)
    except CommandFailed:
        _check_manager(task, name)
        raise


def is_unexpected(line: str) -> bool:
    """Tell whether a line of systemctl's says anything that is not as it is meant to be."""
    return _EXPECTED_OUTPUT.fullmatch(line) is None


def _check_manager(task: Task, name: str) -> None:
    """Raise ServiceMissing when the process manager does not even know the service, or does not answer."""
    try:
        run(status_command(task.app.service, name, task.app.limits), lambda _line: None)  # It prints the whole unit.
    except CommandFailed as error:
        manager, place = task.app.service.manager, task.app.service.endpoint
        raise ServiceMissing(
            f"{manager} knows no service {name}, or does not answer{f' at {place}' if place else ''}: {error.cause}",
            hint=Hint(HintKind.SHOW_UNIT, f"{name}.service")
            if manager == "systemd"
            else Hint(HintKind.SHOW_CIRCUS, str(place)),
        ) from None


def _run_circus(task: Task, command: Command) -> None:
    """Run a command of circus's, which refuses every command while it works on another, of whatever app."""
    endpoint = hashlib.sha256(str(task.app.service.endpoint).encode()).hexdigest()[:12]
    lock = task.places.lock.with_name(f"_circus-{endpoint}.lock")  # No app's name begins with an underscore.
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # Ends: whoever holds it runs one command, which has its limits.
        _retry_while_busy(task, command)
    finally:
        os.close(descriptor)


def _retry_while_busy(task: Task, command: Command) -> None:
    """circus refuses commands during its own rounds, too: a moment later, the same command (harmless twice) passes."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return task.run(command)
        except CommandFailed:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_SECONDS)


def verify_health(task: Task, name: str, colour: str | None) -> None:
    """Wait until a service passes the app's health check; raises Unhealthy."""
    wait_until_healthy(task.app.health, colour, task.recorder.line, lambda: _processes(task, name))


def _processes(task: Task, name: str) -> tuple[str, ...]:
    printed: list[str] = []
    run(processes_command(task.app.service, name, task.app.limits), printed.append)
    return tuple(printed)


def service_log_hint(task: Task, name: str) -> Hint | None:
    """Return the hint to the service's log; None for circus, which keeps no log."""
    is_systemd = task.app.service.manager == "systemd"
    return Hint(HintKind.SHOW_UNIT_LOG, f"{name}.service") if is_systemd else None


UNIT_PROPERTIES: Final = ("LoadState", "ActiveState", "ExecMainStartTimestamp", "StatusText")


def processes_command(service: Service, name: str, limits: Limits) -> Command:
    """Print which processes a unit or watcher has now; asks for no privilege."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SYSTEMCTL, "show", "--property=MainPID", "--property=NRestarts", f"{name}.service")
    else:
        argv = circus_argv(str(service.endpoint), _ANSWER_SECONDS, "list", name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def states_command(units: tuple[str, ...], limits: Limits) -> Command:
    """Print how systemd's units stand, since when their processes run, and what these say of themselves."""
    properties = (f"--property={name}" for name in ("Id", *UNIT_PROPERTIES))
    argv = (SYSTEMCTL, "show", "--timestamp=us+utc", *properties, "--", *units)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def status_command(service: Service, name: str, limits: Limits) -> Command:
    """Succeed when the process manager answers and knows the service; asks for no privilege."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SYSTEMCTL, "cat", f"{name}.service")
    else:
        argv = circus_argv(str(service.endpoint), _ANSWER_SECONDS, "status", name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def control_command(service: Service, verb: Verb, name: str, limits: Limits) -> Command:
    """Start, stop or restart one unit or watcher and wait for it."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SUDO, "-n", SYSTEMCTL, verb, f"{name}.service")
    else:
        argv = circus_argv(str(service.endpoint), math.ceil(limits.step_seconds), verb, name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


# Runs a command and returns the lines that it printed; raises CommandFailed.
RunCommand = Callable[[Command], list[str]]

_STATUS: Final = re.compile(r"release (/.+)")
_STARTED: Final = re.compile(r"\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def inspect_app(app: App, state: AppState, places: AppPaths, ask: RunCommand) -> DriftReport:
    """Compare what runs with what the journal says serves."""
    serving = state.deployed
    if serving is None:
        return DriftReport("nothing was deployed yet")
    if not state.verified or (app.service.handover == "blue-green") != (state.colour is not None):
        return DriftReport("the next deployment decides what runs")
    wanted = DesiredState(serving.name, os.path.realpath(places.release(serving.name)), state.colour)
    try:
        return detect_drift(app, wanted, ServiceSnapshot(_service_states(app, ask), _link_states(app, places)))
    except CommandFailed as error:
        return DriftReport(f"{app.service.manager} does not say what runs: {error.cause}")


def _service_states(app: App, ask: RunCommand) -> dict[str, ServiceState]:
    if app.service.manager == "circus":
        return {name: _watcher_state(app, name, ask) for name in sorted(app.services)}
    names = {*app.services, *filter(None, (stop_indicator(app),))}
    units = sorted(name if name.endswith(".socket") else f"{name}.service" for name in names)
    found = read_states(ask(states_command(tuple(units), app.limits)))
    return {name.removesuffix(".service"): unit for name, unit in found.items()}


def read_states(lines: Iterable[str]) -> dict[str, ServiceState]:
    """Read what `systemctl show` printed of several units: a property that comes again belongs to the next one."""
    blocks: list[dict[str, str]] = []
    for name, _, value in (line.partition("=") for line in lines):
        if not blocks or name in blocks[-1]:
            blocks.append({})
        blocks[-1][name] = value
    return {block["Id"]: _service_state(block) for block in blocks if "Id" in block}


def _service_state(block: Mapping[str, str]) -> ServiceState:
    if block.get("LoadState") == "not-found":
        return ServiceState()
    said = _STATUS.fullmatch(block.get("StatusText", ""))
    started = _STARTED.fullmatch(block.get("ExecMainStartTimestamp", ""))
    return ServiceState(
        block.get("ActiveState", "missing"), _seconds(started[1]) if started else None, said[1] if said else None
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _watcher_state(app: App, name: str, ask: RunCommand) -> ServiceState:
    """A watcher of circus; one whose process ends again and again has none at times."""
    if ask(status_command(app.service, name, app.limits))[-1:] != ["active"]:
        return ServiceState("inactive")
    pids = ",".join(ask(processes_command(app.service, name, app.limits))).split(",")
    return ServiceState("active", directory=_directory(pids[0]))


def _directory(pid: str) -> str | None:
    """The working directory of a process of this user."""
    try:
        return os.readlink(f"/proc/{int(pid)}/cwd")
    except (OSError, ValueError):
        return None


def _link_states(app: App, places: AppPaths) -> dict[str, LinkState]:
    paths: list[Path] = [places.current]
    if app.service.handover == "blue-green":
        paths += [places.colour("blue"), places.colour("green")]
    return {path.name: LinkState(os.path.realpath(path), link_changed_at(path)) for path in paths if path.is_symlink()}
