"""Decides, when the branch is fetched, whether its commit is deployed: by the rules, and by what the commit changes."""

from datetime import UTC, datetime
from pathlib import Path

from hookd.contract.decision import Ruling, Verdict
from hookd.contract.deployment import BY_HAND
from hookd.contract.journal import AppState, Passed
from hookd.contract.ruling import why_not
from hookd.store import freezes
from worker.checkout import Checkout
from worker.target import Target
from worker.task import Task


def decide(task: Task, state: AppState, target: Target, checkout: Checkout, frozen: Path) -> Ruling | None:
    """Say why the target is not deployed; None means: deploy it.

    That it was passed over before counts for readers of the journal. Here the paths are compared anew, as the app's
    patterns may have changed since.
    """
    freeze = freezes.in_force(frozen, task.app.name, datetime.now(UTC))
    afresh = state.model_copy(update={"passed": None})
    ruling = why_not(afresh, target.commit, task.deployment.trigger, freeze)
    return ruling or _passed_over(task, state, target, checkout)


def frozen_now(task: Task, frozen: Path) -> Ruling | None:
    """Say that a person has frozen the app, if one has."""
    freeze = freezes.in_force(frozen, task.app.name, datetime.now(UTC))
    return Ruling(verdict=Verdict.FROZEN, why=str(freeze)) if freeze else None


def _passed_over(task: Task, state: AppState, target: Target, checkout: Checkout) -> Ruling | None:
    """Pass over a head that changes none of the app's paths since what serves, and write that down."""
    base = state.deployed
    if task.deployment.trigger in BY_HAND or base is None or not state.verified:
        return None
    if checkout.changes(base.commit, target.commit):
        return None
    passed = Passed(**task.stamp(), commit=target.commit, base=base.commit)
    if state.passed is None or (state.passed.commit, state.passed.base) != (passed.commit, passed.base):
        state = task.journal.add(passed)
    return why_not(state, target.commit, task.deployment.trigger)
