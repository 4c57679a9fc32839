"""The handover "blue-green": start the idle service of two, and stop the other one once the new release is healthy."""

from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Colour, Good, Pinned, Quarantined, Release, Switched
from worker.context import AppTask, Task
from worker.deploy.repair import RepairResult
from worker.errors import (
    BAD_RELEASE,
    CommandFailed,
    DeployError,
    FirstReleaseFailed,
    RollbackFailed,
    RolledBack,
    SwitchNotRecorded,
)
from worker.release.symlinks import links_to, prepared_link, switch_link
from worker.service.manager import control, service_log_hint, verify_health


def switch_and_verify(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Start a release beside the current one, check its health, and stop the current one.

    Raises RolledBack if the release is bad and the other one served all the time, FirstReleaseFailed if there is no
    other, RollbackFailed if a service cannot be stopped, and DeployError or SwitchNotRecorded if the system refuses
    the switch.
    """
    idle = _idle(state)
    try:
        _start(task, name, idle)
        task.cancel_timeout()
        _switch(task, name, idle, pin)
    except BAD_RELEASE as error:
        task.cancel_timeout()
        _roll_back(task, state, idle, commit, task.cause_of(error))
    except OSError as error:
        task.cancel_timeout()
        _abort_switch(task, state, idle, name, error)
    if state.colour is not None:
        with task.recorder.step(StepName.STOP_OLD, state.colour):
            _stop_previous(task, state.colour, task.journal.state().deployed)


def _start(task: Task, name: str, idle: Colour) -> None:
    with task.recorder.step(StepName.START, idle):
        switch_link(task.places.colour(idle), task.places.release(name))
        control(task, "restart", _service(task, idle))  # A killed deployment may have left it running.
    with task.recorder.step(StepName.HEALTH, idle):
        verify_health(task, _service(task, idle), idle)


def _switch(task: Task, name: str, idle: Colour, pin: Pinned | None) -> None:
    with task.recorder.step(StepName.SWITCH, name), prepared_link(task.places.current, task.places.release(name)):
        switched = Switched(**task.stamp(), release=name, colour=idle)
        task.journal.add(switched, *((pin,) if pin else ()), Good(**task.stamp(), release=name))


def _abort_switch(task: Task, state: AppState, idle: Colour, name: str, error: OSError) -> None:
    """Stop the new release after the system refused the switch, for example on a full disk. Always raises."""
    if task.journal.state().current == name:
        cause = f"{name} serves, but the switch could not be completed: {error}"
        raise SwitchNotRecorded(cause, hint=Hint(HintKind.DEPLOY))
    with task.recorder.step(StepName.ROLL_BACK, idle):
        _stop_colour(task, idle, state.deployed)
    raise DeployError(f"nothing was switched: {error}", hint=Hint(HintKind.DEPLOY))


def _roll_back(task: Task, state: AppState, idle: Colour, commit: str, cause: str) -> None:
    """Stop the bad release. Always raises the error that describes the result."""
    task.recorder.line(f"the new release is bad: {cause}")
    task.try_journal(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
    hint = service_log_hint(task, _service(task, idle))
    try:
        with task.recorder.step(StepName.ROLL_BACK, idle):
            _stop_colour(task, idle, state.deployed)
    except CommandFailed as error:
        raise RollbackFailed(
            f"the new release ({idle}) is bad and could not be stopped: {cause}; {task.cause_of(error)}", hint=hint
        ) from None
    if state.deployed is None:
        raise FirstReleaseFailed(f"the first release is bad: {cause}", hint=hint)
    raise RolledBack(f"the new release is bad, {state.deployed.name} has served all along: {cause}", hint=hint)


def _stop_previous(task: Task, previous: Colour, serving: Release | None) -> None:
    try:
        _stop_colour(task, previous, serving)
    except CommandFailed as error:
        raise RollbackFailed(
            f"the new release serves, but the old one ({previous}) could not be stopped: {error.cause}",
            hint=Hint(HintKind.DEPLOY),
        ) from None


def _stop_colour(task: AppTask, colour: Colour, serving: Release | None) -> None:
    """Stop a colour and point its link at the release that serves, so that a later start starts that one.

    A link to another release is the mark of an interrupted deployment.
    """
    control(task, "stop", _service(task, colour))
    if serving is None:
        task.places.colour(colour).unlink(missing_ok=True)
        return
    try:
        switch_link(task.places.colour(colour), task.places.release(serving.name))
    except OSError as error:  # The service is stopped. The next deployment corrects the link.
        task.recorder.line(f"warning: {colour} does not lead to {serving.name}: {error}")


def recover_interrupted(task: AppTask, state: AppState) -> RepairResult:
    """Stop the idle colour if a deployment was killed while both were running, and correct the links."""
    idle, serving = _idle(state), state.deployed
    repaired = []
    if serving is not None and not links_to(task.places.current, task.places.release(serving.name)):
        switch_link(task.places.current, task.places.release(serving.name))
        repaired.append(f"current did not lead to {serving.name}")
    link = task.places.colour(idle)
    if link.is_symlink() and not (serving is not None and links_to(link, task.places.release(serving.name))):
        repaired.append(f"an earlier deployment was interrupted while {idle} was running")
        task.recorder.line(repaired[-1])
        with task.recorder.step(StepName.RECOVER, idle):
            _stop_colour(task, idle, serving)
    return RepairResult(state, tuple(repaired))


def _idle(state: AppState) -> Colour:
    return "green" if state.colour == "blue" else "blue"


def _service(task: AppTask, colour: Colour) -> str:
    return f"{task.app.service_name}-{colour}"
