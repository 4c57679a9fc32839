"""The handover without a pause: the idle one of two services starts, and the other stops when it is well."""

from hookd.model.deployment import StepName
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Colour, Good, Pinned, Quarantined, Release, Switched
from worker.context import Task
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


def switch_to_idle(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Start a release beside the one that serves, then let it serve alone.

    Raises RolledBack when it is bad (the other has served all along), NothingServes when there is no other, and
    RollbackFailed when the one that must not serve cannot be stopped. A switch that cannot be noted is taken back.
    """
    idle = _idle(state)
    try:
        _start(task, name, idle)
        task.cancel_timeout()
        _switch(task, name, idle, pin)
    except BAD_RELEASE as error:
        task.cancel_timeout()
        _roll_back(task, state, idle, commit, task.say(error))
    except OSError as error:
        task.cancel_timeout()
        _abort_switch(task, state, idle, name, error)
    if state.colour is not None:
        with task.recorder.step(StepName.STOP_OLD, state.colour):
            _stop_previous(task, state.colour, task.journal.state().deployed)


def _start(task: Task, name: str, idle: Colour) -> None:
    with task.recorder.step(StepName.START, idle):
        switch_link(task.places.colour(idle), task.places.release(name))
        control(task, "restart", _service(task, idle))  # A deployment that was killed may have left it running.
    with task.recorder.step(StepName.HEALTH, idle):
        verify_health(task, _service(task, idle), idle)


def _switch(task: Task, name: str, idle: Colour, pin: Pinned | None) -> None:
    with task.recorder.step(StepName.SWITCH, name), prepared_link(task.places.current, task.places.release(name)):
        switched = Switched(**task.stamp(), release=name, colour=idle)
        task.journal.add(switched, *((pin,) if pin else ()), Good(**task.stamp(), release=name))


def _abort_switch(task: Task, state: AppState, idle: Colour, name: str, error: OSError) -> None:
    """Stop a release that is not at fault, since the system refused what belongs to the switch; always raises."""
    if task.journal.state().current == name:
        raise SwitchNotRecorded(
            f"{name} serves, but the switch could not be completed: {error}", hint=Hint(HintKind.DEPLOY)
        )
    with task.recorder.step(StepName.ROLL_BACK, idle):
        _stop_colour(task, idle, state.deployed)
    raise DeployError(f"nothing was switched: {error}", hint=Hint(HintKind.DEPLOY))


def _roll_back(task: Task, state: AppState, idle: Colour, commit: str, cause: str) -> None:
    """Stop the bad release; always raises, with the ending that is true."""
    task.recorder.line(f"the new release is bad: {cause}")
    task.try_journal(Quarantined(**task.stamp(), commit=commit, served=True, cause=cause))
    hint = service_log_hint(task, _service(task, idle))
    try:
        with task.recorder.step(StepName.ROLL_BACK, idle):
            _stop_colour(task, idle, state.deployed)
    except CommandFailed as error:
        raise RollbackFailed(
            f"the new release ({idle}) is bad and could not be stopped: {cause}; {task.say(error)}", hint=hint
        ) from None
    if state.deployed is None:
        raise FirstReleaseFailed(f"the first release is bad: {cause}", hint=hint)
    raise RolledBack(f"the new release is bad, {state.deployed.name} has served all along: {cause}", hint=hint)


def _stop_previous(task: Task, old: Colour, serving: Release | None) -> None:
    try:
        _stop_colour(task, old, serving)
    except CommandFailed as error:
        raise RollbackFailed(
            f"the new release serves, but the old one ({old}) could not be stopped and answers, too: {error.cause}",
            hint=Hint(HintKind.DEPLOY),
        ) from None


def _stop_colour(task: Task, colour: Colour, serving: Release | None) -> None:
    """Stop a colour and let it lead to the release that serves, so that whoever starts it next starts that one.

    A colour that leads elsewhere is the mark of a deployment that was killed in between.
    """
    control(task, "stop", _service(task, colour))
    if serving is None:
        task.places.colour(colour).unlink(missing_ok=True)
        return
    try:
        switch_link(task.places.colour(colour), task.places.release(serving.name))
    except OSError as error:  # It is stopped, which matters more; the mark that it leaves is for the next deployment.
        task.recorder.line(f"warning: {colour} does not lead to {serving.name}: {error}")


def recover_interrupted(task: Task, state: AppState) -> RepairResult:
    """Stop the colour that should be idle, when a deployment was killed while both were running."""
    idle, serving = _idle(state), state.deployed
    mended = []
    if serving is not None and not links_to(task.places.current, task.places.release(serving.name)):
        switch_link(task.places.current, task.places.release(serving.name))
        mended.append(f"current did not lead to {serving.name}")
    link = task.places.colour(idle)
    if link.is_symlink() and not (serving is not None and links_to(link, task.places.release(serving.name))):
        mended.append(f"an earlier deployment was interrupted while {idle} was running")
        task.recorder.line(mended[-1])
        with task.recorder.step(StepName.RECOVER, idle):
            _stop_colour(task, idle, serving)
    return RepairResult(state, tuple(mended))


def _idle(state: AppState) -> Colour:
    return "green" if state.colour == "blue" else "blue"


def _service(task: Task, colour: Colour) -> str:
    return f"{task.app.service_name}-{colour}"
