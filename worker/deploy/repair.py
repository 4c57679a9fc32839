"""Brings what runs to what the journal says, where it differs: links, the service that serves, one that must not.

Used under the app's lock, by a deployment that was asked for because of that. What is right is left alone.
"""

from dataclasses import dataclass

from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Release
from worker.context import Task
from worker.errors import DeployError, RepairFailed, Unhealthy
from worker.process.run import lines_of
from worker.release.symlinks import switch_link
from worker.service.drift import Drift
from worker.service.manager import control, inspect_app, service_log_hint, verify_health


@dataclass(frozen=True)
class RepairResult:
    """How an app stands before anything new is deployed: what was mended, and what could not be.

    `well` tells whether a service that was started again is well.
    """

    state: AppState
    mended: tuple[str, ...] = ()
    well: bool | None = None
    trouble: DeployError | None = None

    def then(self, later: "RepairResult") -> "RepairResult":
        """Add what was done after this."""
        return RepairResult(later.state, self.mended + later.mended, self.well or later.well, later.trouble)


def repair(task: Task, state: AppState) -> RepairResult:
    """Mend what is wrong with an app that has a release to serve."""
    drifts, serving = inspect_app(task.app, state, task.places, lines_of).drifts, state.deployed
    if serving is None or not drifts:
        return RepairResult(state)
    try:
        with task.recorder.step(StepName.REPAIR, serving.name):
            for drift in drifts:
                task.recorder.line(drift.what)
                _repair_drift(task, state, serving, drift)
        _verify_repair(task, state, drifts)
    except DeployError as error:
        return RepairResult(state, trouble=error)
    well = True if any(drift.kind in ("service", "release") for drift in drifts) else None
    return RepairResult(state, tuple(drift.what for drift in drifts), well)


def _repair_drift(task: Task, state: AppState, serving: Release, drift: Drift) -> None:
    """Mend one thing; the service that serves comes before the one that is stopped."""
    release = task.places.release(serving.name)
    match drift.kind:
        case "link":
            # A service that started before somebody moved the link is right, and not older than the link.
            switch_link(task.places.root / drift.name, release, since=drift.started and drift.started - 1)
        case "service" | "release":
            _restart_service(task, state, drift)
        case "second":
            control(task, "stop", drift.name)
            switch_link(task.places.colour(drift.name.rpartition("-")[2]), release)


def _verify_repair(task: Task, state: AppState, mended: tuple[Drift, ...]) -> None:
    """Look once more: a service that was started in vain would be the next time, too. Later looks read that here."""
    left = inspect_app(task.app, state, task.places, lines_of).drifts
    for drift in mended:
        if drift.kind == "release" and drift in left:
            with task.recorder.step(StepName.COMPARE, drift.what):
                hint = service_log_hint(task, drift.name) or Hint(HintKind.SHOW_LOG)
                raise DeployError(f"{drift.what}, also after it was started again", hint=hint, healthy=True)


def _restart_service(task: Task, state: AppState, drift: Drift) -> None:
    control(task, "restart", drift.name)
    try:
        verify_health(task, drift.name, state.colour)
    except Unhealthy as error:
        raise RepairFailed(
            f"{drift.what}; it was started again and is not well: {task.say(error)}",
            hint=service_log_hint(task, drift.name) or Hint(HintKind.SHOW_LOG),
        ) from None
