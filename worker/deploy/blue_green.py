"""The handover "blue-green": start the idle service of two, and stop the other one once the new release is healthy."""

from typing import Final

from hookd.files.links import links_to, prepared_link, switch_link
from hookd.model.app import App
from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Good, Pinned, Switched
from hookd.model.tables.service import Colour, idle_colour
from worker.context import AppTask, Task
from worker.deploy.repair import RepairResult, RollbackResult
from worker.deploy.start import start_healthy
from worker.errors import CommandFailed, DeployError, ProcessFailed, RollbackFailed
from worker.service import processes
from worker.service.manager import control

# The result of a rollback that failed.
ROLLBACK_FAILURE: Final = "the new release cannot be stopped"


def switch(task: Task, state: AppState, name: str, pin: Pinned | None) -> None:
    """Start a release beside the current one, check its health, and stop the current one.

    Raises an error of BAD_RELEASE, OSError if the system refuses the switch, and RollbackFailed if the new release
    serves and the old one cannot be stopped.
    """
    idle = idle_colour(state.colour)
    try:
        switch_link(task.paths.colour(idle), task.paths.release(name))
        start_healthy(task, task.app.service_of(idle), idle, StepName.START)
        processes.hand_over(task, state.colour, idle, name)
        task.cancel_timeout()
        with task.recorder.step(StepName.SWITCH, name), prepared_link(task.paths.current, task.paths.release(name)):
            switched = Switched(**task.stamp(), release=name, colour=idle)
            task.journal.add(switched, *((pin,) if pin else ()), Good(**task.stamp(), release=name))
    except OSError:
        if task.journal.state().current != name:
            go_back(task, state)
        raise
    if state.colour is not None:
        try:
            with task.recorder.step(StepName.STOP_OLD, state.colour):
                _stop_colour(task, state.colour, name)
                processes.stop(task, state.colour)
        except CommandFailed as error:
            cause = f"the new release serves, but {state.colour} cannot be stopped: {error.cause}"
            raise RollbackFailed(cause, hint=Hint(HintKind.DEPLOY)) from None


def new_service(app: App, state: AppState) -> str:
    """Return the service that starts the new release."""
    return app.service_of(idle_colour(state.colour))


def go_back(task: Task, state: AppState) -> RollbackResult | None:
    """Stop the new release. Return None if no other one serves."""
    idle, old = idle_colour(state.colour), state.deployed
    with task.recorder.step(StepName.ROLL_BACK, idle):
        processes.stop(task, idle)
        _stop_colour(task, idle, old.name if old else None)
        processes.start(task, state.colour)
    return RollbackResult(f"{old.name} serves on") if old else None


def _stop_colour(task: AppTask, colour: Colour, serving: str | None) -> None:
    """Stop a colour and point its link at the release that serves, so that a later start starts that one.

    A link to another release is the mark of an interrupted deployment.
    """
    control(task, "stop", task.app.service_of(colour))
    if serving is None:
        task.paths.colour(colour).unlink(missing_ok=True)
        return
    try:
        switch_link(task.paths.colour(colour), task.paths.release(serving))
    except OSError as error:  # The service is stopped. The next deployment corrects the link.
        task.recorder.line(f"warning: {colour} does not lead to {serving}: {error}")


def recover(task: AppTask, state: AppState) -> RepairResult:
    """Stop the idle colour if a deployment was killed while both were running, and correct the links."""
    idle, serving = idle_colour(state.colour), state.deployed
    release = task.paths.release(serving.name) if serving else None
    repaired = []
    if release is not None and not links_to(task.paths.current, release):
        switch_link(task.paths.current, release)
        repaired.append(f"current did not lead to {release.name}")
    link = task.paths.colour(idle)
    if link.is_symlink() and (release is None or not links_to(link, release)):
        repaired.append(f"an earlier deployment was interrupted while {idle} was running")
        task.recorder.line(repaired[-1])
        try:
            with task.recorder.step(StepName.RECOVER, idle):
                processes.stop(task, idle)
                processes.start(task, state.colour)
                _stop_colour(task, idle, serving.name if serving else None)
        except ProcessFailed as error:
            return RepairResult(tuple(repaired), error=DeployError(str(error), hint=error.hint))
    return RepairResult(tuple(repaired))
