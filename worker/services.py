"""An app's services as a deployment sees them: start, stop, restart, wait until one is well, and where it logs."""

import fcntl
import hashlib
import os
import re
import time
from typing import Final

from hookd.contract.privilege import Verb
from worker import commands
from worker.errors import CommandFailed, ServiceMissing
from worker.health import wait_until_healthy
from worker.run import run
from worker.task import Task

_ROUND_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2
# systemctl's warning that a stopped service has sockets, which are what keeps visitors waiting instead of failing.
_AS_MEANT: Final = re.compile(
    r"(Warning: )?Stopping '?\S+?'?, but (it can still be activated by|its triggering units are still active):"
    r"|\s*[\w@.-]+\.socket"
)


def control(task: Task, verb: Verb, name: str) -> None:
    """Start, stop or restart a service; raises CommandFailed, and ServiceMissing when it is the manager's fault."""
    command = commands.service(task.app.service, verb, name, task.app.limits)
    try:
        if task.app.service.manager == "systemd":
            task.run(command, is_news)
        else:
            _tell_circus(task, command)
    except CommandFailed:
        _blame_the_manager(task, name)
        raise


def is_news(line: str) -> bool:
    """Tell whether a line of systemctl's says anything that is not as it is meant to be."""
    return _AS_MEANT.fullmatch(line) is None


def _blame_the_manager(task: Task, name: str) -> None:
    """Raise ServiceMissing when the process manager does not even know the service, or does not answer."""
    try:
        run(commands.known(task.app.service, name, task.app.limits), lambda _line: None)  # It prints the whole unit.
    except CommandFailed as error:
        manager, place = task.app.service.manager, task.app.service.endpoint
        raise ServiceMissing(
            f"{manager} knows no service {name}, or does not answer{f' at {place}' if place else ''}: {error.cause}",
            hint=f"systemctl status {name}.service" if manager == "systemd" else f"circusctl --endpoint {place} status",
        ) from None


def _tell_circus(task: Task, command: commands.Command) -> None:
    """Run a command of circus's, which refuses every command while it works on another, of whatever app."""
    endpoint = hashlib.sha256(str(task.app.service.endpoint).encode()).hexdigest()[:12]
    lock = task.places.lock.with_name(f"_circus-{endpoint}.lock")  # No app's name begins with an underscore.
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # Ends: whoever holds it runs one command, which has its limits.
        _run_again_for_a_while(task, command)
    finally:
        os.close(descriptor)


def _run_again_for_a_while(task: Task, command: commands.Command) -> None:
    """circus refuses commands during its own rounds, too: a moment later, the same command (harmless twice) passes."""
    end = time.monotonic() + _ROUND_SECONDS
    while True:
        try:
            return task.run(command)
        except CommandFailed:
            if time.monotonic() >= end:
                raise
        time.sleep(_PAUSE_SECONDS)


def wait_until_well(task: Task, name: str, colour: str | None) -> None:
    """Wait until a service passes the app's health check; raises Unhealthy."""
    wait_until_healthy(task.app.health, colour, task.recorder.line, lambda: _processes(task, name))


def _processes(task: Task, name: str) -> tuple[str, ...]:
    printed: list[str] = []
    run(commands.processes(task.app.service, name, task.app.limits), printed.append)
    return tuple(printed)


def own_log(task: Task, name: str) -> str | None:
    """The command that shows what the app itself said; None where its process manager keeps no log of its own."""
    return f"journalctl --unit {name}.service --lines 50" if task.app.service.manager == "systemd" else None
