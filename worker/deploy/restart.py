"""The handover of a single service: `current` points at the new release, the service restarts; back if need be."""

from collections.abc import Callable

from hookd.model.deployment import StepName
from hookd.model.journal import AppState, Good, Pinned, Quarantined, Release, Switched
from worker.context import Task
from worker.deploy.repair import Settled
from worker.errors import (
    BAD_RELEASE,
    CommandFailed,
    DeployError,
    NothingServes,
    NotNoted,
    RollbackFailed,
    RolledBack,
    ServiceMissing,
    StillUnwell,
    Unhealthy,
)
from worker.release.symlinks import leads_to, point, pointed_at, pointing
from worker.service.manager import control, own_log, wait_until_well

# Writes to the journal.
Note = Callable[..., object]


def restart_into(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Restart the service in a release.

    Raises RolledBack when it is bad and the last good one serves again, RollbackFailed when that is not well either,
    NothingServes when no release was ever good, and NotNoted when it is well and the journal cannot be told.
    """
    since = pointed_at(task.places.current)
    try:
        _switch_and_restart(task, name, task.journal.add, pin)
    except ServiceMissing:
        _point_back(task, state, since)
        raise
    except OSError as error:
        task.stop_the_clock()
        _refused(task, name, error)
    except BAD_RELEASE as error:
        task.stop_the_clock()
        cause = task.say(error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.try_to_note(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _go_back(task, _last_good(state), cause)


def _switch_and_restart(task: Task, name: str, note: Note, pin: Pinned | None = None) -> None:
    """Switch and restart; the journal is written before the link changes, and again when the release is well."""
    with task.recorder.step(StepName.SWITCH, name), pointing(task.places.current, task.places.release(name)):
        note(Switched(**task.stamp(), release=name))
    with task.recorder.step(StepName.RESTART):
        control(task, "restart", task.app.service_name)
    with task.recorder.step(StepName.HEALTH):
        wait_until_well(task, task.app.service_name, None)
    note(*((pin,) if pin else ()), Good(**task.stamp(), release=name))


def _refused(task: Task, name: str, error: OSError) -> None:
    """Say what the system's refusal in the middle of a handover leaves behind; always raises."""
    hint = f"hookd deploy {task.app.name}"
    if leads_to(task.places.current, task.places.release(name)):
        raise NotNoted(f"{name} was switched to, but that could not be noted: {error}", hint=hint) from None
    raise DeployError(f"nothing was switched: {error}", hint=hint) from None


def _point_back(task: Task, state: AppState, since: float | None) -> None:
    """Undo a switch that nobody could act upon: what was running still is, and has been since then."""
    if state.deployed is not None:
        back = Switched(**task.stamp(), release=state.deployed.name)
        task.journal.add(back, Good(**task.stamp(), release=state.deployed.name))
        point(task.places.current, task.places.release(state.deployed.name), since=since)


def _go_back(task: Task, previous: Release | None, cause: str) -> None:
    """Return to the release that was last found well; always raises, with the ending that is true."""
    hint = own_log(task, task.app.service_name)
    if previous is None:
        raise NothingServes(f"the first release is bad, and there is none to go back to: {cause}", hint=hint)
    try:
        with task.recorder.step(StepName.ROLL_BACK, previous.name):
            _switch_and_restart(task, previous.name, task.try_to_note)
    except (*BAD_RELEASE, OSError) as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is not well either: {task.say(error)}",
            hint=hint or f"hookd logs {task.deployment.id}",
        ) from None
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint, healthy=True)


def settle(task: Task, state: AppState) -> Settled:
    """Go back from a switch that nobody verified, because its deployment was killed, to the last good release."""
    good = _last_good(state)
    if state.verified:
        return Settled(state)
    interrupted = f"an earlier deployment was interrupted after switching to {state.current}"
    task.recorder.line(interrupted)
    if good is None:
        return Settled(state)
    try:
        with task.recorder.step(StepName.SETTLE, good.name):
            _switch_and_restart(task, good.name, task.journal.add)
    except (Unhealthy, CommandFailed) as error:
        trouble = StillUnwell(
            f"{interrupted}, and {good.name}, which served before, is not well: {task.say(error)}",
            hint=own_log(task, task.app.service_name) or f"hookd logs {task.deployment.id}",
        )
        return Settled(task.journal.state(), trouble=trouble)
    return Settled(task.journal.state(), (interrupted,), well=True)


def _last_good(state: AppState) -> Release | None:
    """The release that was the last to be found well; the current one may be worse."""
    return state.release(state.good_order[-1]) if state.good_order else None
