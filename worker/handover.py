"""Hands an app over from the release that serves to a new one, and back when the new one is bad.

`restart` points `current` at the new release and restarts the one service. `blue-green` starts the idle one of two
services and stops the other when the new one is well. Either way the journal is written before anything is changed.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from hookd.contract.journal import AppState, Colour, Good, Quarantined, Release, Switched
from worker import commands
from worker.errors import CommandFailed, NothingServes, RollbackFailed, RolledBack, Unhealthy
from worker.health import wait_until_healthy
from worker.run import run
from worker.task import Task


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
    except (Unhealthy, CommandFailed) as error:
        cause = _sentence(error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _back(task, state.deployed, cause)


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
    except (Unhealthy, CommandFailed) as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is not well either: {_sentence(error)}",
            hint=f"hookd logs {task.deployment.id}",
        ) from None
    hint = _own_log(task, task.app.service_name)
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint)


def _blue_green(task: Task, state: AppState, name: str, commit: str) -> None:
    idle: Colour = "green" if state.colour == "blue" else "blue"
    try:
        _start_idle(task, name, idle)
    except (Unhealthy, CommandFailed) as error:
        cause = _sentence(error)
        task.recorder.line(f"the new release is bad: {cause}")
        _undo_idle(task, state, idle)
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        if state.deployed is None:
            raise NothingServes(f"the first release is bad: {cause}") from None
        raise RolledBack(
            f"the new release is bad, {state.deployed.name} has served all along: {cause}",
            hint=_own_log(task, _coloured(task, idle)),
        ) from None
    with task.recorder.step("switch", name):
        task.journal.add(Switched(**task.stamp(), release=name, colour=idle), Good(**task.stamp(), release=name))
        point(task.places.current, task.places.release(name))
    if state.colour is not None:
        with task.recorder.step("stop old", state.colour):
            _service(task, "stop", _coloured(task, state.colour))


def _start_idle(task: Task, name: str, idle: Colour) -> None:
    with task.recorder.step("start", idle):
        _service(task, "stop", _coloured(task, idle))  # A deployment that was killed may have left it running.
        point(task.places.colour(idle), task.places.release(name))
        _service(task, "start", _coloured(task, idle))
    with task.recorder.step("health", idle):
        _wait_until_healthy(task, _coloured(task, idle), idle)


def _undo_idle(task: Task, state: AppState, idle: Colour) -> None:
    with task.recorder.step("roll back", idle), suppress(CommandFailed):
        _service(task, "stop", _coloured(task, idle))
    if state.deployed is not None:
        point(task.places.colour(idle), task.places.release(state.deployed.name))


def settle(task: Task, state: AppState) -> AppState:
    """Finish what a killed deployment left open: a switch nobody verified goes back to the last good release."""
    if state.verified or task.app.service.handover == "blue-green":
        return state
    good = state.previous_good
    task.recorder.line(f"an earlier deployment was interrupted after switching to {state.current}")
    if good is None:
        return state
    with task.recorder.step("settle", good.name), suppress(Unhealthy, CommandFailed):
        _switch_and_restart(task, good.name)
    return task.journal.state()


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
    task.run(commands.service(task.app.service, verb, name, task.app.limits))


def _coloured(task: Task, colour: str) -> str:
    return f"{task.app.service_name}-{colour}"


def _sentence(error: Unhealthy | CommandFailed) -> str:
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
