"""The handover of a single service: `current` points at the new release, the service restarts; back if need be."""

from contextlib import suppress

from hookd.contract.journal import AppState, Good, Quarantined, Release, Switched
from worker.errors import (
    BAD_RELEASE,
    CommandFailed,
    NothingServes,
    RollbackFailed,
    RolledBack,
    ServiceMissing,
    Unhealthy,
)
from worker.links import point
from worker.services import control, own_log, wait_until_well
from worker.task import Task


def restart_into(task: Task, state: AppState, name: str, commit: str) -> None:
    """Restart the service in a release.

    Raises RolledBack when it is bad and the last good one serves again, RollbackFailed when that is not well either,
    and NothingServes when no release was ever good.
    """
    try:
        _switch_and_restart(task, name)
    except ServiceMissing:
        _point_back(task, state)
        raise
    except BAD_RELEASE as error:
        task.stop_the_clock()
        cause = task.say(error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _go_back(task, _last_good(state), cause)


def _switch_and_restart(task: Task, name: str) -> None:
    """Switch and restart; the journal is written before the link changes, and again when the release is well."""
    with task.recorder.step("switch", name):
        task.journal.add(Switched(**task.stamp(), release=name))
        point(task.places.current, task.places.release(name))
    with task.recorder.step("restart"):
        control(task, "restart", task.app.service_name)
    with task.recorder.step("health"):
        wait_until_well(task, task.app.service_name, None)
    task.journal.add(Good(**task.stamp(), release=name))


def _point_back(task: Task, state: AppState) -> None:
    """Undo a switch that nobody could act upon: what was running still is."""
    if state.deployed is not None:
        back = Switched(**task.stamp(), release=state.deployed.name)
        task.journal.add(back, Good(**task.stamp(), release=state.deployed.name))
        point(task.places.current, task.places.release(state.deployed.name))


def _go_back(task: Task, previous: Release | None, cause: str) -> None:
    """Return to the release that was last found well; always raises, with the ending that is true."""
    hint = own_log(task, task.app.service_name)
    if previous is None:
        raise NothingServes(f"the first release is bad, and there is none to go back to: {cause}", hint=hint)
    try:
        with task.recorder.step("roll back", previous.name):
            _switch_and_restart(task, previous.name)
    except BAD_RELEASE as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is not well either: {task.say(error)}",
            hint=hint or f"hookd logs {task.deployment.id}",
        ) from None
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint, healthy=True)


def settle(task: Task, state: AppState) -> AppState:
    """Go back from a switch that nobody verified, because its deployment was killed, to the last good release."""
    good = _last_good(state)
    if state.verified:
        return state
    task.recorder.line(f"an earlier deployment was interrupted after switching to {state.current}")
    if good is None:
        return state
    with task.recorder.step("settle", good.name), suppress(Unhealthy, CommandFailed):
        _switch_and_restart(task, good.name)
    return task.journal.state()


def _last_good(state: AppState) -> Release | None:
    """The release that was the last to be found well; the current one may be worse."""
    return state.release(state.good_order[-1]) if state.good_order else None
