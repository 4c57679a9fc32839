"""Adapter of circus, the process manager of apps that systemd does not run."""

import fcntl
import hashlib
import math
import os
import time
from collections.abc import Callable
from typing import Final

from hookd.model.app import App, Limits, Service
from hookd.model.sudo import Verb
from worker.context import AppTask
from worker.errors import CommandFailed
from worker.process.run import Command
from worker.service.circus_client import client_argv
from worker.service.drift import ServiceState

# Runs a command and returns the lines that it printed. Raises CommandFailed.
RunCommand = Callable[[Command], list[str]]

_PATH: Final = "/usr/bin:/bin"
_ANSWER_SECONDS: Final = 5  # For a question. Starting and stopping may take as long as a step.
_BUSY_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2


def control_command(service: Service, verb: Verb, name: str, limits: Limits) -> Command:
    """Start, stop or restart a watcher and wait for it."""
    return _command(service, limits, math.ceil(limits.step_seconds), verb, name)


def processes_command(service: Service, name: str, limits: Limits) -> Command:
    """Print the process ids of a watcher."""
    return _command(service, limits, _ANSWER_SECONDS, "list", name)


def status_command(service: Service, name: str, limits: Limits) -> Command:
    """Print the status of a watcher. Fail if circus does not know it."""
    return _command(service, limits, _ANSWER_SECONDS, "status", name)


def _command(service: Service, limits: Limits, seconds: int, verb: str, name: str) -> Command:
    argv = client_argv(str(service.endpoint), seconds, verb, name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _PATH})


def run_exclusively(task: AppTask, command: Command) -> None:
    """Run a command while no other app does: circus refuses commands while it works on one. Raises CommandFailed."""
    endpoint = hashlib.sha256(str(task.app.service.endpoint).encode()).hexdigest()[:12]
    lock = task.places.lock.with_name(f"_circus-{endpoint}.lock")  # No app's name begins with an underscore.
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # The wait ends, because the holder runs one command with time limits.
        _retry_while_busy(task, command)
    finally:
        os.close(descriptor)


def _retry_while_busy(task: AppTask, command: Command) -> None:
    """Repeat a refused command: circus also refuses commands during its own rounds. Repeating does no harm."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return task.run(command)
        except CommandFailed:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_SECONDS)


def watcher_state(app: App, name: str, run_command: RunCommand) -> ServiceState:
    """Return the state of a watcher. A watcher whose process ends again and again has none at times."""
    if run_command(status_command(app.service, name, app.limits))[-1:] != ["active"]:
        return ServiceState("inactive")
    pids = ",".join(run_command(processes_command(app.service, name, app.limits))).split(",")
    return ServiceState("active", directory=_working_directory(pids[0]))


def _working_directory(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{int(pid)}/cwd")
    except (OSError, ValueError):
        return None
