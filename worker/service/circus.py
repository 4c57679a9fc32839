"""Adapter of circus, the process manager of apps that systemd does not run."""

import fcntl
import hashlib
import os
import time
from typing import Any, Final

from hookd.model.app import App
from hookd.model.tables.service import Service
from hookd.model.units.systemctl import Verb
from worker.context import AppTask
from worker.errors import CommandFailed
from worker.service.drift import ServiceState

_ANSWER_SECONDS: Final = 5.0  # For a question. Starting and stopping may take as long as a step.
_PAUSE_SECONDS: Final = 0.2
# circus works on another command. https://github.com/circus-tent/circus/blob/master/circus/commands/errors.py
_COMMAND_ERROR: Final = 5
# The reason names the command that circus works on. After this one circus ends.
_LAST_COMMAND: Final = "arbiter_stop"


def control(task: AppTask, verb: Verb, name: str) -> None:
    """Start, stop or restart a watcher and wait for it. Raises CommandFailed.

    No other app does so meanwhile, because circus refuses commands while it works on one.
    """
    service, limit = task.app.service, task.app.limits.step_seconds
    task.recorder.line(f"circus: {verb} {name}")
    endpoint = hashlib.sha256(str(service.endpoint).encode()).hexdigest()[:12]
    lock = task.paths.lock.with_name(f"_circus-{endpoint}.lock")  # No app's name begins with an underscore.
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # The wait ends, because the holder sends one command with a time limit.
        end = time.monotonic() + limit
        while _is_busy(answer := _send(service, verb, name, limit)) and time.monotonic() < end:
            time.sleep(_PAUSE_SECONDS)  # A killed deployment's command goes on. Repeating does no harm.
    _check(answer)


def _is_busy(answer: dict[str, Any]) -> bool:
    return answer.get("errno") == _COMMAND_ERROR and _LAST_COMMAND not in str(answer.get("reason"))


def ask(service: Service, verb: str, name: str, seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
    """Send a question about a watcher to circus and return the answer. Raises CommandFailed."""
    answer = _send(service, verb, name, seconds)
    _check(answer)
    return answer


def _check(answer: dict[str, Any]) -> None:
    if answer["status"] == "error":
        raise CommandFailed(f"circus: {answer.get('reason')}")


def _send(service: Service, verb: str, name: str, seconds: float) -> dict[str, Any]:
    """Return the answer of circus, also that of an error. Raises CommandFailed without an answer."""
    import zmq  # Servers with systemd do not have it.

    try:
        with zmq.Context() as context, context.socket(zmq.DEALER) as circus:
            circus.setsockopt(zmq.LINGER, 0)
            circus.connect(str(service.endpoint))
            circus.send_json({"id": "hookd", "command": verb, "properties": {"name": name, "waiting": True}})
            if not circus.poll(int(1000 * seconds)):
                raise CommandFailed(f"circus did not answer at {service.endpoint} within {seconds:g} s")
            answer: Any = circus.recv_json()
    except zmq.ZMQError as error:
        raise CommandFailed(f"circus cannot be asked at {service.endpoint}: {error}") from None
    return dict(answer)


def process_ids(service: Service, name: str) -> tuple[str, ...]:
    """Return the process ids of a watcher. Raises CommandFailed."""
    return tuple(str(pid) for pid in ask(service, "list", name)["pids"])


def watcher_state(app: App, name: str) -> ServiceState:
    """Return the state of a watcher. A watcher whose process ends again and again has none at times."""
    if ask(app.service, "status", name)["status"] != "active":
        return ServiceState("inactive")
    pids = process_ids(app.service, name)
    return ServiceState("active", directory=_working_directory(pids[0]) if pids else None)


def _working_directory(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
