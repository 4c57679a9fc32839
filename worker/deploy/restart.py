"""The handover "restart": point `current` at the new release, restart the service, and roll back a bad release."""

from collections.abc import Callable

from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Good, Pinned, Quarantined, Release, Switched
from worker.context import AppTask, Task
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
AddEvents = Callable[..., object]


def switch_and_verify(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Restart the service in a release and check its health.

    Raises RolledBack if the release is bad and the last good one serves again, RollbackFailed if that is unhealthy,
    too, FirstReleaseFailed without a good release, and SwitchNotRecorded if the journal cannot be written.
    """
    since = link_changed_at(task.places.current)
    try:
        _restart_in(task, name, task.journal.add, pin)
    except ServiceMissing:
        _restore_link(task, state, since)
        raise
    except OSError as error:
        task.cancel_timeout()
        _abort_switch(task, name, error)
    except BAD_RELEASE as error:
        task.cancel_timeout()
        cause = task.cause_of(error)
        task.recorder.line(f"the new release is bad: {cause}")
        task.try_journal(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
        _roll_back(task, _last_good(state), cause)


def _restart_in(task: AppTask, name: str, add_events: AddEvents, pin: Pinned | None = None) -> None:
    """Switch, restart and verify. Write the journal before the link changes, and again once the release is good."""
    with task.recorder.step(StepName.SWITCH, name), prepared_link(task.places.current, task.places.release(name)):
        add_events(Switched(**task.stamp(), release=name))
    with task.recorder.step(StepName.RESTART):
        control(task, "restart", task.app.service_name)
    with task.recorder.step(StepName.HEALTH):
        verify_health(task, task.app.service_name, None)
    add_events(*((pin,) if pin else ()), Good(**task.stamp(), release=name))


def _abort_switch(task: Task, name: str, error: OSError) -> None:
    """Raise the error for a switch that the system refused, for example on a full disk."""
    hint = Hint(HintKind.DEPLOY)
    if links_to(task.places.current, task.places.release(name)):
        raise SwitchNotRecorded(f"{name} serves, but the journal cannot be written: {error}", hint=hint) from None
    raise DeployError(f"nothing was switched: {error}", hint=hint) from None


def _restore_link(task: Task, state: AppState, since: float | None) -> None:
    """Undo a switch before any restart: the old service still runs, and its link keeps its old time."""
    if state.deployed is not None:
        back = Switched(**task.stamp(), release=state.deployed.name)
        task.journal.add(back, Good(**task.stamp(), release=state.deployed.name))
        switch_link(task.places.current, task.places.release(state.deployed.name), since=since)


def _roll_back(task: Task, previous: Release | None, cause: str) -> None:
    """Restart the last good release. Always raises the error that describes the result."""
    hint = service_log_hint(task, task.app.service_name)
    if previous is None:
        raise FirstReleaseFailed(f"the first release is bad: {cause}", hint=hint)
    try:
        with task.recorder.step(StepName.ROLL_BACK, previous.name):
            _restart_in(task, previous.name, task.try_journal)
    except (*BAD_RELEASE, OSError) as error:
        raise RollbackFailed(
            f"the new release is bad ({cause}), and the old one is unhealthy: {task.cause_of(error)}",
            hint=hint or Hint(HintKind.SHOW_LOG),
        ) from None
    raise RolledBack(f"the new release is bad, {previous.name} serves again: {cause}", hint=hint, healthy=True)


def recover_interrupted(task: AppTask, state: AppState) -> RepairResult:
    """Return to the last good release if a deployment was killed between its switch and its health check."""
    good = _last_good(state)
    if state.verified:
        return RepairResult(state)
    interrupted = f"an earlier deployment was interrupted after switching to {state.current}"
    task.recorder.line(interrupted)
    if good is None:
        return RepairResult(state)
    try:
        with task.recorder.step(StepName.RECOVER, good.name):
            _restart_in(task, good.name, task.journal.add)
    except (Unhealthy, CommandFailed) as error:
        failed = RepairFailed(
            f"{interrupted}, and the good release {good.name} is unhealthy: {task.cause_of(error)}",
            hint=service_log_hint(task, task.app.service_name) or Hint(HintKind.SHOW_LOG),
        )
        return RepairResult(task.journal.state(), error=failed)
    return RepairResult(task.journal.state(), (interrupted,), healthy=True)


def _last_good(state: AppState) -> Release | None:
    """Return the release that last passed its health check. The current one may not have."""
    return state.release(state.good_order[-1]) if state.good_order else None
