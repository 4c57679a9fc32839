"""The steps of one deployment in their order; reads as what happens."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hookd.contract.decision import Ruling, Verdict
from hookd.contract.deployment import Status, Trigger
from hookd.contract.journal import AppState, Quarantined, Unpinned
from hookd.contract.ruling import next_for
from hookd.contract.steps import StepName
from hookd.store import freezes
from hookd.store.ownership import Policy, umask_of
from worker.build import before_switch, build
from worker.checkout import Checkout
from worker.deaths import death_counted, quarantine_deadly
from worker.decide import decide, frozen_now
from worker.errors import CommitRefused, DeployError
from worker.handover import hand_over, settle
from worker.lock import app_lock
from worker.mend import Settled
from worker.ownership import make_directories, policy_of
from worker.prune import clear, prune
from worker.space import check_space
from worker.target import Target, find_target, pin_of
from worker.task import Task


@dataclass(frozen=True)
class Ending:
    """How a deployment ended: its status, why in one sentence, what to type next, and what was decided."""

    status: Status
    cause: str | None = None
    hint: str | None = None
    healthy: bool | None = None
    verdict: Verdict = Verdict.ENDED


@dataclass(frozen=True)
class Seen:
    """What became known about the app on the way, for its readers."""

    state: AppState
    head: str | None = None
    head_seen_at: datetime | None = None
    healthy: bool | None = None


def deploy(task: Task, frozen: Path, publish: Callable[[Seen], None]) -> Ending:
    """Bring the app to its branch's head, or to what a person chose; raises DeployError.

    `frozen` is the directory with a file for each frozen app.
    """
    with app_lock(task.places.lock, task.deployment.id, task.app.limits.lock_seconds):
        policy = policy_of(task.app.ownership)
        os.umask(umask_of(task.app.ownership))
        make_directories(task, policy)
        try:
            ending = _deploy_locked(task, frozen, policy, publish)
        except DeployError as error:
            publish(Seen(task.journal.state(), healthy=error.healthy))
            raise
        publish(Seen(task.journal.state(), healthy=ending.healthy))
        return ending


def _deploy_locked(task: Task, frozen: Path, policy: Policy, publish: Callable[[Seen], None]) -> Ending:
    settled = settle(task, task.journal.state())
    state = _unpinned(task, settled.state)
    clear(task, state)
    with task.recorder.step(StepName.SPACE):
        check_space(task)
    checkout = Checkout(task.app, task.settings, task.places.mirror, task.places.home, task.recorder.line)
    with task.recorder.step(StepName.FETCH):
        target = find_target(task, state, checkout)
    publish(Seen(state, target.head, datetime.now(UTC)))
    state = quarantine_deadly(task, state, target.commit)
    ruling = decide(task, state, target, checkout, frozen)
    if ruling is not None:
        return _mended(task, settled) or _unchanged(task, ruling, frozen)
    with death_counted(task.places.deaths, target.commit):
        name = _release_of(task, state, target, checkout, policy)
        return _switch(task, target, name, policy, frozen)


def _switch(task: Task, target: Target, name: str, policy: Policy, frozen: Path) -> Ending:
    """Hand over to a release that is built, unless the app was frozen meanwhile."""
    try:
        # Building takes a while, and migrations belong to what they are for: this is the last moment to stay as it is.
        ruling = frozen_now(task, frozen)
        if ruling is not None:
            return _unchanged(task, ruling, frozen)
        before_switch(task, task.places.release(name), policy)
        hand_over(task, task.journal.state(), name, target.commit, pin_of(task, target) if target.pinned else None)
    finally:
        task.stop_the_clock()  # However it went, it is decided now.
        with task.recorder.step(StepName.PRUNE):
            prune(task, task.journal.state())
    return Ending(Status.SUCCEEDED, healthy=True)


def _unpinned(task: Task, state: AppState) -> AppState:
    """Follow the branch again when that is what was asked for."""
    if task.deployment.trigger is not Trigger.UNPIN or state.pin is None:
        return state
    task.recorder.line(f"no longer pinned to {state.pin.commit}")
    return task.journal.add(Unpinned(**task.stamp()))


def _mended(task: Task, settled: Settled) -> Ending | None:
    """Say what was mended, where that is all there was to do; raises what could not be mended."""
    if settled.trouble is not None:
        raise settled.trouble
    if not settled.mended or task.deployment.trigger is not Trigger.RECONCILE:
        return None
    return Ending(Status.SUCCEEDED, f"mended: {'; '.join(settled.mended)}", healthy=settled.well)


def _unchanged(task: Task, ruling: Ruling, frozen: Path) -> Ending:
    """Leave everything as it is, and say what to type when that is not what the person wanted."""
    app = task.app.name
    thaws = ruling.verdict is Verdict.FROZEN
    hint = freezes.thaw_command(frozen, app) if thaws else next_for(ruling.verdict, app)
    return Ending(Status.UNCHANGED, ruling.why, hint or None, verdict=ruling.verdict)


def _release_of(task: Task, state: AppState, target: Target, checkout: Checkout, policy: Policy) -> str:
    """Name the release to hand over to: the one on disk that a person goes back to, or a new one."""
    if target.release is not None:
        name = target.release.name
    else:
        try:
            name = build(task, state, target, checkout, policy)
        except CommitRefused as error:
            task.journal.add(Quarantined(**task.stamp(), commit=target.commit, served=False, cause=task.say(error)))
            raise
    task.recorder.note(release=name)
    return name
