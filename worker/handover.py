"""Hands an app over from the release that serves to a new one, in the way that the app's config chooses.

A deployment that runs out of time on the way goes back, too. Once it goes back, or the release is found well, time no
longer matters: breaking off then would only make the ending a lie.
"""

from hookd.contract.deployment import Trigger
from hookd.contract.journal import AppState, Pinned
from hookd.contract.steps import StepName
from worker import blue_green, commands, in_place
from worker.mend import Settled, mend
from worker.task import Task


def hand_over(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Make a release serve; its files are on disk first. A person's pin is noted together with its success.

    Raises RolledBack when it is bad and the old one serves, RollbackFailed when that is not well either, and
    NothingServes when it is bad and there is no old one.
    """
    with task.recorder.step(StepName.FLUSH):
        task.run(commands.flush(task.places.release(name)))
    match task.app.service.handover:
        case "restart":
            in_place.restart_into(task, state, name, commit, pin)
        case "blue-green":
            blue_green.start_beside(task, state, name, commit, pin)


def settle(task: Task, state: AppState) -> Settled:
    """Finish what a killed deployment left open, so that only a release that was found well serves.

    A deployment that was asked for because something else runs than should also mends that. What could not be mended
    is no reason not to deploy a newer commit.
    """
    mended = mend(task, state) if task.deployment.trigger is Trigger.RECONCILE else Settled(state)
    if mended.trouble is not None:
        return mended  # The colour that should be idle may be the only one that answers.
    match task.app.service.handover:
        case "restart":
            return mended.then(in_place.settle(task, state))
        case "blue-green":
            return mended.then(blue_green.settle(task, state))
