"""The handover "restart": point `current` at the new release and restart the service."""

from collections.abc import Callable
from typing import Final

from hookd.files.links import link_changed_at, prepared_link, switch_link
from hookd.model.app import App
from hookd.model.deployment import StepName
from hookd.model.journal import AppState, Good, Pinned, Release, Switched
from worker.context import AppTask, Task
from worker.deploy.repair import RepairResult, RollbackResult
from worker.deploy.start import start_healthy
from worker.errors import CommandFailed, DeployError, ServiceMissing, Unhealthy
from worker.service import processes
from worker.service.manager import service_log_hint

# The result of a rollback that failed.
ROLLBACK_FAILURE: Final = "the old one is unhealthy"
# Writes to the journal.
AddEvents = Callable[..., object]


def switch(task: Task, state: AppState, name: str, pin: Pinned | None) -> None:
    """Restart the service in a release and check its health.

    Raises an error of BAD_RELEASE, OSError if the journal cannot be written, and ServiceMissing.
    """
    since = link_changed_at(task.paths.current)
    try:
        _restart_in(task, name, task.journal.add, pin)
    except ServiceMissing:  # The old service still runs, so its link keeps its old time.
        if state.deployed is not None:
            old = state.deployed.name
            task.journal.add(Switched(**task.stamp(), release=old), Good(**task.stamp(), release=old))
            switch_link(task.paths.current, task.paths.release(old), since=since)
        raise


def _restart_in(task: AppTask, name: str, add_events: AddEvents, pin: Pinned | None = None) -> None:
    """Switch, restart and verify. Write the journal before the link changes, and again once the release is good."""
    with task.recorder.step(StepName.SWITCH, name), prepared_link(task.paths.current, task.paths.release(name)):
        add_events(Switched(**task.stamp(), release=name))
    start_healthy(task, task.app.service_name, None, StepName.RESTART)
    processes.hand_over(task, None, None, name)
    add_events(*((pin,) if pin else ()), Good(**task.stamp(), release=name))


def new_service(app: App, state: AppState) -> str:
    """Return the service that starts the new release."""
    return app.service_name


def go_back(task: Task, state: AppState) -> RollbackResult | None:
    """Restart the last good release. Return None without one."""
    good = _last_good(state)
    if good is None:
        processes.stop(task, None)
        task.paths.current.unlink(missing_ok=True)  # nginx shows by it that no release serves.
        return None
    with task.recorder.step(StepName.ROLL_BACK, good.name):
        _restart_in(task, good.name, task.try_journal)
    return RollbackResult(f"{good.name} serves again", healthy=True)


def recover(task: AppTask, state: AppState) -> RepairResult:
    """Return to the last good release if a deployment was killed between its switch and its health check."""
    good = _last_good(state)
    if state.verified:
        return RepairResult()
    interrupted = f"an earlier deployment was interrupted after switching to {state.current}"
    task.recorder.line(interrupted)
    if good is None:
        return RepairResult()
    try:
        with task.recorder.step(StepName.RECOVER, good.name):
            _restart_in(task, good.name, task.journal.add)
    except (Unhealthy, CommandFailed) as error:
        cause = f"{good.name} is unhealthy after an interrupted deployment: {task.cause_of(error)}"
        hint = service_log_hint(task, task.app.service_name)
        return RepairResult(error=DeployError(cause, hint=hint, healthy=False))
    return RepairResult((interrupted,), healthy=True)


def _last_good(state: AppState) -> Release | None:
    """Return the release that last passed its health check. The current one may not have."""
    return state.release(state.good_order[-1]) if state.good_order else None
