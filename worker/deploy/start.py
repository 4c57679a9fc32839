"""Start a release and check its health, and once more after a signal disturbed it."""

from hookd.model.deployment import StepName
from worker.context import AppTask
from worker.errors import CommandFailed, ReleaseKilled, Unhealthy
from worker.service.disturbance import find_disturbance
from worker.service.manager import control, forget_refusal, verify_health


def start_healthy(task: AppTask, name: str, colour: str | None, step: StepName) -> None:
    """Restart a service as `step` and wait until it is healthy.

    A failure counts only if the release had its chance, so a disturbed start is repeated once. Raises Unhealthy,
    CommandFailed and ServiceMissing, and ReleaseKilled if the second start was disturbed, too, or another user holds
    the app's port.
    """
    for is_last in (False, True):
        try:
            _start(task, name, colour, step)
            return
        except ReleaseKilled:
            raise
        except (Unhealthy, CommandFailed) as error:
            is_silent = isinstance(error, Unhealthy) and error.is_silent
            disturbance = find_disturbance(task.app, name, is_silent=is_silent)
            if disturbance is None:
                raise
            if is_last:
                raise ReleaseKilled(f"{name} {disturbance} in two starts, probably from outside") from None
            task.recorder.line(f"{task.cause_of(error)}; {name} {disturbance}, so it is started once more")


def _start(task: AppTask, name: str, colour: str | None, step: StepName) -> None:
    forget_refusal(task, colour)
    with task.recorder.step(step, colour):
        control(task, "restart", name)  # A killed deployment may have left it running.
    with task.recorder.step(StepName.HEALTH, colour):
        verify_health(task, name, colour)
