"""Repair the drift of an app: its links, the service that serves, and a second one that must not run.

A reconcile deployment does this under the app's lock. It leaves everything alone that is as it should be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hookd.files.links import switch_link
from hookd.model.deployment import StepName
from hookd.model.journal import AppState, Release
from hookd.model.tables.service import idle_colour
from worker.context import Task
from worker.errors import DeployError, ProcessFailed, ReleaseKilled, Unhealthy
from worker.service import processes
from worker.service.drift import Drift
from worker.service.manager import control, inspect_app, service_log_hint, verify_health
from worker.service.serving import with_health

# The drifts that a restart repairs.
_RESTARTED: Final = ("service", "release", "suspended")


@dataclass(frozen=True)
class RepairResult:
    """The result of a repair: `repaired` in sentences, and the error of a repair that failed.

    `healthy` is True if a service was restarted and passed its health check.
    """

    repaired: tuple[str, ...] = ()
    healthy: bool | None = None
    error: DeployError | None = None


@dataclass(frozen=True)
class RollbackResult:
    """The release that serves after a rollback, in words. `healthy` is True if it passed a health check."""

    summary: str
    healthy: bool | None = None


def repair(task: Task, state: AppState) -> RepairResult:
    """Repair the drift of an app that has a current release."""
    found, serving = inspect_app(task.app, state, task.paths), state.deployed
    drifts = with_health(task.app, state.colour, found).drifts
    if serving is None or not drifts:
        return RepairResult()
    try:
        with task.recorder.step(StepName.REPAIR, serving.name):
            for drift in drifts:
                task.recorder.line(drift.text)
                _repair_drift(task, state, serving, drift)
            _repair_processes(task, state, drifts)
        _verify_repair(task, state, drifts)
    except DeployError as error:
        return RepairResult(error=error)
    is_restarted = any(drift.kind in _RESTARTED for drift in drifts)
    return RepairResult(tuple(drift.text for drift in drifts), True if is_restarted else None)


def _repair_drift(task: Task, state: AppState, serving: Release, drift: Drift) -> None:
    release = task.paths.release(serving.name)
    match drift.kind:
        case "link":
            # The link must look older than a service that started before the link was moved away: that one is right.
            switch_link(task.paths.root / drift.name, release, since=drift.started and drift.started - 1)
        case "service" | "release" | "suspended":
            _restart_service(task, state, drift)
        case "idle":
            control(task, "stop", drift.name)
            processes.stop(task, idle_colour(state.colour))
            switch_link(task.paths.colour(drift.name.rpartition("-")[2]), release)


def _restart_service(task: Task, state: AppState, drift: Drift) -> None:
    control(task, "restart", drift.name)
    try:
        verify_health(task, drift.name, state.colour)
    except Unhealthy as error:
        cause = f"{drift.text}; it is unhealthy after a restart: {task.cause_of(error)}"
        raise DeployError(cause, hint=service_log_hint(task, drift.name), healthy=False) from None


def _repair_processes(task: Task, state: AppState, drifts: Sequence[Drift]) -> None:
    """Start the processes that are down, or all of them in the release that serves. Raises DeployError.

    The step has the keys of all of them, because each counts as started.
    """
    found = [drift for drift in drifts if drift.kind in ("process", "old process")]
    detail = "; ".join(drift.key for drift in found)
    try:
        if any(drift.kind == "old process" for drift in found):
            processes.hand_over(task, state.colour, state.colour, detail)
        elif found:
            processes.repair(task, state.colour, detail)
    except ProcessFailed as error:
        raise DeployError(f"{error}, also after a start", hint=error.hint) from None
    except ReleaseKilled as error:
        raise DeployError(str(error)) from None


def _verify_repair(task: Task, state: AppState, repaired: tuple[Drift, ...]) -> None:
    """Raise DeployError if a restart did not end a drift. The failed step keeps later runs from more restarts."""
    left = inspect_app(task.app, state, task.paths).drifts
    for drift in repaired:
        if drift.kind in ("release", "old process") and drift in left:
            with task.recorder.step(StepName.COMPARE, drift.key):
                hint = service_log_hint(task, drift.name)
                raise DeployError(f"{drift.text}, also after a restart", hint=hint, healthy=True)
