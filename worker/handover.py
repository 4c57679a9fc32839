"""Hands an app over from the release that serves to a new one, and back when the new one is bad.

`restart` points `current` at the new release and restarts the one service. `blue-green` starts the idle one of two
services and stops the other when the new one is well. Either way the journal is written before anything is changed.
A deployment that runs out of time on the way goes back, too: RQ's alarm rings once, and going back has its own limits.
"""

import fcntl
import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from rq.timeouts import JobTimeoutException

from hookd.contract.journal import AppState, Colour, Good, Quarantined, Release, Switched
from worker import commands
from worker.errors import CommandFailed, DeployError, NothingServes, RollbackFailed, RolledBack, Unhealthy
from worker.health import wait_until_healthy
from worker.run import run
from worker.task import Task

# What makes a release bad once it was started.
_BAD: Final = (Unhealthy, CommandFailed, JobTimeoutException)
_ROUND_SECONDS: Final = 3.0
_PAUSE_SECONDS: Final = 0.2


def hand_over(task: Task, state: AppState, name: str, commit: str) -> None:
    """Make a release serve.

    Raises RolledBack when it is bad and the old one serves again, RollbackFailed when that is not well either, and
    NothingServes when it is bad and there is no old one.
    """
    with task.recorder.step("flush"):
        task.run(commands.flush(task.places.release(name)))
    match task.app.service.handover:
        case "restart":
            _restart(task, state, name, commit)
        case "blue-green":
            _blue_green(task, state, name, commit)


def _restart(task: Task, state: AppState, name: str, commit: str) -> None:
    try:
        _switch_and_restart(task, name)
    except _BAD as error:
        cause = _sentence(task, error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _back(task, _last_good(state), cause)


def _switch_and_restart(task: Task, name: str) -> None:
    with task.recorder.step("switch", name):
        task.journal.add(Switched(**task.stamp(), release=name))
        point(task.places.current, task.places.release(name))
    with task.recorder.step("restart"):
        _service(task, "restart", task.app.service_name)
    with task.recorder.step("health"):
        _wait_until_healthy(task, task.app.service_name, None)
    task.journal.add(Good(**task.stamp(), release=name))


def _back(task: Task, previous: Release | None, cause: str) -> None:
    """Return to the release that served before; always raises, with the ending that is true."""
    if previous is None:
        raise NothingServes(f"the first release is bad, and there is none to go back to: {cause}")
    try:
        with task.recorder.step("roll back", previous.name):
            _switch_and_restart(task, previous.name)
    except _BAD as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is not well either: {_sentence(task, error)}",
            hint=f"hookd logs {task.deployment.id}",
        ) from None
    hint = _own_log(task, task.app.service_name)
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint)


def _blue_green(task: Task, state: AppState, name: str, commit: str) -> None:
    idle = _idle(state)
    try:
        _start_idle(task, name, idle)
    except _BAD as error:
        cause = _sentence(task, error)
        task.recorder.line(f"the new release is bad: {cause}")
        with task.recorder.step("roll back", idle), suppress(CommandFailed):
            _retire(task, idle, state.deployed)
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        if state.deployed is None:
            raise NothingServes(f"the first release is bad: {cause}") from None
        raise RolledBack(f"the new release is bad, {state.deployed.name} has served all along: {cause}") from None
    with task.recorder.step("switch", name):
        task.journal.add(Switched(**task.stamp(), release=name, colour=idle), Good(**task.stamp(), release=name))
        point(task.places.current, task.places.release(name))
    if state.colour is not None:
        with task.recorder.step("stop old", state.colour):
            _stop_old(task, state.colour, task.journal.state().deployed)


def _start_idle(task: Task, name: str, idle: Colour) -> None:
    with task.recorder.step("start", idle):
        _service(task, "stop", _coloured(task, idle))  # A deployment that was killed may have left it running.
        point(task.places.colour(idle), task.places.release(name))
        _service(task, "start", _coloured(task, idle))
    with task.recorder.step("health", idle):
        _wait_until_healthy(task, _coloured(task, idle), idle)


def _stop_old(task: Task, old: Colour, serving: Release | None) -> None:
    try:
        _retire(task, old, serving)
    except CommandFailed as error:
        raise DeployError(
            f"the new release serves, but the old one ({old}) could not be stopped and answers, too: {error.cause}",
            hint=f"hookd deploy {task.app.name}",
        ) from None


def _retire(task: Task, colour: Colour, serving: Release | None) -> None:
    """Stop a colour and let it lead to the release that serves, so that whoever starts it next starts that one.

    A colour that leads elsewhere is the mark of a deployment that was killed in between.
    """
    _service(task, "stop", _coloured(task, colour))
    if serving is not None:
        point(task.places.colour(colour), task.places.release(serving.name))
    else:
        task.places.colour(colour).unlink(missing_ok=True)


def settle(task: Task, state: AppState) -> AppState:
    """Finish what a killed deployment left open, so that only a release that was found well serves."""
    match task.app.service.handover:
        case "restart":
            return _settle_switch(task, state)
        case "blue-green":
            _settle_colours(task, state)
            return state


def _settle_switch(task: Task, state: AppState) -> AppState:
    """Go back from a switch that nobody verified to the last release that was good."""
    good = _last_good(state)
    if state.verified:
        return state
    task.recorder.line(f"an earlier deployment was interrupted after switching to {state.current}")
    if good is None:
        return state
    with task.recorder.step("settle", good.name), suppress(Unhealthy, CommandFailed):
        _switch_and_restart(task, good.name)
    return task.journal.state()


def _settle_colours(task: Task, state: AppState) -> None:
    """Stop the colour that should be idle, when a deployment was killed while both were running."""
    idle, serving = _idle(state), state.deployed
    if serving is not None and not _leads_to(task.places.current, task.places.release(serving.name)):
        point(task.places.current, task.places.release(serving.name))
    link = task.places.colour(idle)
    if not link.is_symlink() or (serving is not None and _leads_to(link, task.places.release(serving.name))):
        return
    task.recorder.line(f"an earlier deployment was interrupted while {idle} was running")
    with task.recorder.step("settle", idle):
        _retire(task, idle, serving)


def _last_good(state: AppState) -> Release | None:
    """The release that was the last to be found well; the current one may be worse."""
    return state.release(state.good_order[-1]) if state.good_order else None


def _idle(state: AppState) -> Colour:
    return "green" if state.colour == "blue" else "blue"


def _leads_to(link: Path, release: Path) -> bool:
    return os.path.realpath(link) == os.path.realpath(release)


def _wait_until_healthy(task: Task, name: str, colour: str | None) -> None:
    wait_until_healthy(task.app.health, colour, task.recorder.line, lambda: _processes(task, name))


def _processes(task: Task, name: str) -> tuple[str, ...]:
    printed: list[str] = []
    run(commands.processes(task.app.service, name, task.app.limits), printed.append)
    return tuple(printed)


def _own_log(task: Task, name: str) -> str | None:
    """Where the app itself may have said why."""
    return f"journalctl --unit {name}.service --lines 50" if task.app.service.manager == "systemd" else None


def _service(task: Task, verb: commands.Verb, name: str) -> None:
    command = commands.service(task.app.service, verb, name, task.app.limits)
    if task.app.service.manager == "systemd":
        task.run(command)
    else:
        _tell_circus(task, command)


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


def _coloured(task: Task, colour: str) -> str:
    return f"{task.app.service_name}-{colour}"


def _sentence(task: Task, error: Exception) -> str:
    if isinstance(error, JobTimeoutException):
        return f"the deployment took longer than {task.app.limits.deploy_seconds} s"
    return str(error)


def point(link: Path, release: Path) -> None:
    """Make a link point at a release in one step, and wait until that is on disk."""
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    temporary.symlink_to(os.path.relpath(release, link.parent))
    os.replace(temporary, link)
    _sync_directory(link.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
