"""The handover of a single service: `current` points at the new release, the service restarts; back if need be."""

from collections.abc import Callable

from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Good, Pinned, Quarantined, Release, Switched
from worker.context import Task
from worker.deploy.repair import RepairResult
from worker.errors import (
    BAD_RELEASE,
    CommandFailed,
    DeployError,
    FirstReleaseFailed,
    RepairFailed,
    RollbackFailed,
    RolledBack,
    ServiceMissing,
    SwitchNotRecorded,
    Unhealthy,
)
from worker.release.symlinks import link_changed_at, links_to, prepared_link, switch_link
from worker.service.manager import control, service_log_hint, verify_health

# Writes to the journal.
Note = Callable[..., object]


def switch_and_verify(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Restart the service in a release.

    Raises RolledBack when it is bad and the last good one serves again, RollbackFailed when that is not well either,
    NothingServes when no release was ever good, and NotNoted when it is well and the journal cannot be told.
    """
    since = link_changed_at(task.places.current)
    try:
        _switch_and_restart(task, name, task.journal.add, pin)
    except ServiceMissing:
        _restore_link(task, state, since)
        raise
    except OSError as error:
        task.cancel_timeout()
        _abort_switch(task, name, error)
    except BAD_RELEASE as error:
        task.cancel_timeout()
        cause = task.say(error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.try_journal(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _roll_back(task, _last_good(state), cause)


def _switch_and_restart(task: Task, name: str, note: Note, pin: Pinned | None = None) -> None:
    """Switch and restart; the journal is written before the link changes, and again when the release is well."""
    with task.recorder.step(StepName.SWITCH, name), prepared_link(task.places.current, task.places.release(name)):
        note(Switched(**task.stamp(), release=name))
    with task.recorder.step(StepName.RESTART):
        control(task, "restart", task.app.service_name)
    with task.recorder.step(StepName.HEALTH):
        verify_health(task, task.app.service_name, None)
    note(*((pin,) if pin else ()), Good(**task.stamp(), release=name))


def _abort_switch(task: Task, name: str, error: OSError) -> None:
    """Say what the system's refusal in the middle of a handover leaves behind; always raises."""
    hint = Hint(HintKind.DEPLOY)
    if links_to(task.places.current, task.places.release(name)):
        raise SwitchNotRecorded(f"{name} was switched to, but that could not be noted: {error}", hint=hint) from None
    raise DeployError(f"nothing was switched: {error}", hint=hint) from None


def _restore_link(task: Task, state: AppState, since: float | None) -> None:
    """Undo a switch that nobody could act upon: what was running still is, and has been since then."""
    if state.deployed is not None:
        back = Switched(**task.stamp(), release=state.deployed.name)
        task.journal.add(back, Good(**task.stamp(), release=state.deployed.name))
        switch_link(task.places.current, task.places.release(state.deployed.name), since=since)


def _roll_back(task: Task, previous: Release | None, cause: str) -> None:
    """Return to the release that was last found well; always raises, with the ending that is true."""
    hint = service_log_hint(task, task.app.service_name)
    if previous is None:
        raise FirstReleaseFailed(f"the first release is bad, and there is none to go back to: {cause}", hint=hint)
    try:
        with task.recorder.step(StepName.ROLL_BACK, previous.name):
            _switch_and_restart(task, previous.name, task.try_journal)
    except (*BAD_RELEASE, OSError) as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is not well either: {task.say(error)}",
            hint=hint or Hint(HintKind.SHOW_LOG),
        ) from None
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint, healthy=True)


def recover_interrupted(task: Task, state: AppState) -> RepairResult:
    """Go back from a switch that nobody verified, because its deployment was killed, to the last good release."""
    good = _last_good(state)
    if state.verified:
        return RepairResult(state)
    interrupted = f"an earlier deployment was interrupted after switching to {state.current}"
    task.recorder.line(interrupted)
    if good is None:
        return RepairResult(state)
    try:
        with task.recorder.step(StepName.RECOVER, good.name):
            _switch_and_restart(task, good.name, task.journal.add)
    except (Unhealthy, CommandFailed) as error:
        trouble = RepairFailed(
            f"{interrupted}, and {good.name}, which served before, is not well: {task.say(error)}",
            hint=service_log_hint(task, task.app.service_name) or Hint(HintKind.SHOW_LOG),
        )
        return RepairResult(task.journal.state(), trouble=trouble)
    return RepairResult(task.journal.state(), (interrupted,), well=True)


def _last_good(state: AppState) -> Release | None:
    """The release that was the last to be found well; the current one may be worse."""
    return state.release(state.good_order[-1]) if state.good_order else None
