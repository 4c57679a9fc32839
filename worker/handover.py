"""Hands an app over from the release that serves to a new one, in the way that the app's config chooses.

A deployment that runs out of time on the way goes back, too. Once it goes back, or the release is found well, time no
longer matters: breaking off then would only make the ending a lie.
"""

from hookd.contract.journal import AppState
from worker import blue_green, commands, in_place
from worker.task import Task


def hand_over(task: Task, state: AppState, name: str, commit: str) -> None:
    """Make a release serve; its files are on disk first.

    Raises RolledBack when it is bad and the old one serves, RollbackFailed when that is not well either, and
    NothingServes when it is bad and there is no old one.
    """
    with task.recorder.step("flush"):
        task.run(commands.flush(task.places.release(name)))
    match task.app.service.handover:
        case "restart":
            in_place.restart_into(task, state, name, commit)
        case "blue-green":
            blue_green.start_beside(task, state, name, commit)


def settle(task: Task, state: AppState) -> AppState:
    """Finish what a killed deployment left open, so that only a release that was found well serves."""
    match task.app.service.handover:
        case "restart":
            return in_place.settle(task, state)
        case "blue-green":
            blue_green.settle(task, state)
            return state
