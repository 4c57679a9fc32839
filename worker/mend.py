"""Brings what runs to what the journal says, where it differs: links, the service that serves, one that must not.

Used under the app's lock, by a deployment that was asked for because of that. What is right is left alone.
"""

from dataclasses import dataclass
from typing import Final

from hookd.contract.journal import AppState, Release
from worker.commands import Command
from worker.errors import DeployError, StillUnwell, Unhealthy
from worker.faults import Fault
from worker.links import point
from worker.run import run
from worker.running import look
from worker.services import control, own_log, wait_until_well
from worker.task import Task

# The names of steps in the record by which later looks count how often this was tried.
STEP: Final = "mend"
STEPS: Final = (STEP, "settle")


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
    faults, serving = look(task.app, state, task.places, _ask).faults, state.deployed
    if serving is None or not faults:
        return Settled(state)
    try:
        with task.recorder.step(STEP, serving.name):
            for fault in faults:
                task.recorder.line(fault.what)
                _mend(task, state, serving, fault)
    except DeployError as error:
        return Settled(state, trouble=error)
    well = True if any(fault.kind == "service" for fault in faults) else None
    return Settled(state, tuple(fault.what for fault in faults), well)


def _ask(command: Command) -> list[str]:
    lines: list[str] = []
    run(command, lines.append)
    return lines


def _mend(task: Task, state: AppState, serving: Release, fault: Fault) -> None:
    """Mend one thing; the service that serves comes before the one that is stopped."""
    release = task.places.release(serving.name)
    match fault.kind:
        case "link":
            # A service that started before somebody moved the link is right, and not older than the link.
            point(task.places.root / fault.name, release, since=fault.started and fault.started - 1)
        case "service":
            _start_again(task, state, fault)
        case "second":
            control(task, "stop", fault.name)
            point(task.places.colour(fault.name.rpartition("-")[2]), release)


def _start_again(task: Task, state: AppState, fault: Fault) -> None:
    control(task, "restart", fault.name)
    try:
        wait_until_well(task, fault.name, state.colour)
    except Unhealthy as error:
        raise StillUnwell(
            f"{fault.what}; it was started again and is not well: {task.say(error)}",
            hint=own_log(task, fault.name) or f"hookd logs {task.deployment.id}",
        ) from None
