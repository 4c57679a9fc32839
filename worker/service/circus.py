"""Adapter of circus, the process manager of apps that systemd does not run."""

import fcntl
import hashlib
import os
import time
from typing import Any, Final

from hookd.model.app import App, Service
from hookd.model.sudo import Verb
from worker.context import AppTask
from worker.errors import CommandFailed
from worker.service.drift import ServiceState

_ANSWER_SECONDS: Final = 5.0  # For a question. Starting and stopping may take as long as a step.
_BUSY_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2


def control(task: AppTask, verb: Verb, name: str) -> None:
    """Start, stop or restart a watcher and wait for it. Raises CommandFailed.

    No other app does so meanwhile, because circus refuses commands while it works on one.
    """
    service = task.app.service
    task.recorder.line(f"circus: {verb} {name}")
    endpoint = hashlib.sha256(str(service.endpoint).encode()).hexdigest()[:12]
    lock = task.places.lock.with_name(f"_circus-{endpoint}.lock")  # No app's name begins with an underscore.
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # The wait ends, because the holder sends one command with a time limit.
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                ask(service, verb, name, task.app.limits.step_seconds)
                return
            except CommandFailed:  # circus also refuses commands during its own rounds. Repeating does no harm.
                if time.monotonic() >= end:
                    raise
            time.sleep(_PAUSE_SECONDS)


def ask(service: Service, verb: str, name: str, seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
    """Send a command about a watcher to circus and return the answer. Raises CommandFailed."""
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
    if answer["status"] == "error":
        raise CommandFailed(f"circus: {answer.get('reason')}")
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
