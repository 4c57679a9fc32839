"""Brings what runs to what the journal says, where it differs: links, the service that serves, one that must not.

Used under the app's lock, by a deployment that was asked for because of that. What is right is left alone.
"""

from dataclasses import dataclass

from hookd.model.deployment import StepName
from hookd.model.journal import AppState, Release
from worker.context import Task
from worker.errors import DeployError, StillUnwell, Unhealthy
from worker.process.run import lines_of
from worker.release.symlinks import point
from worker.service.drift import Fault
from worker.service.manager import control, look, own_log, wait_until_well


@dataclass(frozen=True)
class Settled:
    """How an app stands before anything new is deployed: what was mended, and what could not be.

    `well` tells whether a service that was started again is well.
    """

    state: AppState
    mended: tuple[str, ...] = ()
    well: bool | None = None
    trouble: DeployError | None = None

    def then(self, later: "Settled") -> "Settled":
        """Add what was done after this."""
        return Settled(later.state, self.mended + later.mended, self.well or later.well, later.trouble)


def mend(task: Task, state: AppState) -> Settled:
    """Mend what is wrong with an app that has a release to serve."""
    faults, serving = look(task.app, state, task.places, lines_of).faults, state.deployed
    if serving is None or not faults:
        return Settled(state)
    try:
        with task.recorder.step(StepName.MEND, serving.name):
            for fault in faults:
                task.recorder.line(fault.what)
                _mend(task, state, serving, fault)
        _compare(task, state, faults)
    except DeployError as error:
        return Settled(state, trouble=error)
    well = True if any(fault.kind in ("service", "release") for fault in faults) else None
    return Settled(state, tuple(fault.what for fault in faults), well)


def _mend(task: Task, state: AppState, serving: Release, fault: Fault) -> None:
    """Mend one thing; the service that serves comes before the one that is stopped."""
    release = task.places.release(serving.name)
    match fault.kind:
        case "link":
            # A service that started before somebody moved the link is right, and not older than the link.
            point(task.places.root / fault.name, release, since=fault.started and fault.started - 1)
        case "service" | "release":
            _start_again(task, state, fault)
        case "second":
            control(task, "stop", fault.name)
            point(task.places.colour(fault.name.rpartition("-")[2]), release)


def _compare(task: Task, state: AppState, mended: tuple[Fault, ...]) -> None:
    """Look once more: a service that was started in vain would be the next time, too. Later looks read that here."""
    left = look(task.app, state, task.places, lines_of).faults
    for fault in mended:
        if fault.kind == "release" and fault in left:
            with task.recorder.step(StepName.COMPARE, fault.what):
                hint = own_log(task, fault.name) or f"hookd logs {task.deployment.id}"
                raise DeployError(f"{fault.what}, also after it was started again", hint=hint, healthy=True)


def _start_again(task: Task, state: AppState, fault: Fault) -> None:
    control(task, "restart", fault.name)
    try:
        wait_until_well(task, fault.name, state.colour)
    except Unhealthy as error:
        raise StillUnwell(
            f"{fault.what}; it was started again and is not well: {task.say(error)}",
            hint=own_log(task, fault.name) or f"hookd logs {task.deployment.id}",
        ) from None
