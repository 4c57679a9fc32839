"""The steps of one deployment in their order; reads as what happens."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hookd.contract.decision import Ruling, Verdict
from hookd.contract.deployment import Status, Trigger
from hookd.contract.journal import AppState, Quarantined, Unpinned
from hookd.store import freezes
from hookd.store.ownership import Policy, umask_of
from worker.build import before_switch, build, check_space
from worker.checkout import Checkout
from worker.decide import decide, frozen_now
from worker.errors import CommitRefused, DeployError
from worker.handover import hand_over, settle
from worker.lock import app_lock
from worker.mend import Settled
from worker.ownership import make_directories, policy_of
from worker.prune import clear, prune
from worker.target import Target, find_target, pin_of
from worker.task import Task


@dataclass(frozen=True)
class Ending:
    """How a deployment ended: its status, why in one sentence, what to type next, and what was decided."""

    status: Status
    cause: str | None = None
    hint: str | None = None
    healthy: bool | None = None
    verdict: Verdict = Verdict.DEPLOYED


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
    with task.recorder.step("space"):
        check_space(task)
    checkout = Checkout(task.app, task.settings, task.places.mirror, task.places.home, task.recorder.line)
    with task.recorder.step("fetch"):
        target = find_target(task, state, checkout)
    publish(Seen(state, target.head, datetime.now(UTC)))
    ruling = decide(task, state, target, checkout, frozen)
    if ruling is not None:
        return _mended(task, settled) or _unchanged(task, ruling, frozen)
    name = _release_of(task, state, target, checkout, policy)
    try:
        # Building takes a while, and migrations belong to what they are for: this is the last moment to stay as it is.
        ruling = frozen_now(task, frozen)
        if ruling is not None:
            return _unchanged(task, ruling, frozen)
        before_switch(task, task.places.release(name), policy)
        hand_over(task, task.journal.state(), name, target.commit, pin_of(task, target) if target.pinned else None)
    finally:
        task.stop_the_clock()  # However it went, it is decided now.
        with task.recorder.step("prune"):
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
    return Ending(Status.UNCHANGED, ruling.why, _hint(task, ruling, frozen), verdict=ruling.verdict)


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


def _hint(task: Task, ruling: Ruling, frozen: Path) -> str | None:
    """What to type when an unchanged app is not what the person wanted; nothing when the head simply serves."""
    app = task.app.name
    match ruling.verdict:
        case Verdict.UNCHANGED:
            return None
        case Verdict.FROZEN:
            return freezes.thaw_command(frozen, app)
        case Verdict.PINNED:
            return f"push a newer commit, or follow the branch again: hookd unpin {app}"
        case Verdict.FILTERED:
            return f"to deploy it all the same: hookd deploy {app}"
        case _:
            return f"push a newer commit, or try this one by hand: hookd deploy {app}"
