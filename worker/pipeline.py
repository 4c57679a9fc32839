"""The steps of one deployment in their order; reads as what happens."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hookd.contract.deployment import Status
from hookd.contract.journal import AppState, Quarantined
from hookd.contract.ruling import why_not
from hookd.store.ownership import Policy, umask_of
from worker.build import before_switch, build, check_space
from worker.checkout import Checkout
from worker.errors import CommitRefused, DeployError
from worker.handover import hand_over, settle
from worker.lock import app_lock
from worker.ownership import make_directories, policy_of
from worker.prune import prune
from worker.target import Target, find_target, pin_of
from worker.task import Task


@dataclass(frozen=True)
class Ending:
    """How a deployment ended: its status, why in one sentence, and what to type next."""

    status: Status
    cause: str | None = None
    hint: str | None = None
    healthy: bool | None = None


@dataclass(frozen=True)
class Seen:
    """What became known about the app on the way, for its readers."""

    state: AppState
    head: str | None = None
    head_seen_at: datetime | None = None
    healthy: bool | None = None


def deploy(task: Task, publish: Callable[[Seen], None]) -> Ending:
    """Bring the app to its branch's head, or to what a person chose; raises DeployError."""
    with app_lock(task.places.lock, task.deployment.id, task.app.limits.lock_seconds):
        policy = policy_of(task.app.ownership)
        os.umask(umask_of(task.app.ownership))
        make_directories(task, policy)
        try:
            ending = _deploy_locked(task, policy, publish)
        except DeployError as error:
            publish(Seen(task.journal.state(), healthy=error.healthy))
            raise
        publish(Seen(task.journal.state(), healthy=ending.healthy))
        return ending


def _deploy_locked(task: Task, policy: Policy, publish: Callable[[Seen], None]) -> Ending:
    state = settle(task, task.journal.state())
    with task.recorder.step("space"):
        check_space(task)
    checkout = Checkout(task.app, task.settings, task.places.mirror, task.places.home, task.recorder.line)
    with task.recorder.step("fetch"):
        target = find_target(task, state, checkout)
    publish(Seen(state, target.head, datetime.now(UTC)))
    reason = why_not(state, target.commit, task.deployment.trigger)
    if reason is not None:
        return Ending(Status.UNCHANGED, reason.why, _hint(task, state))
    name = _release_of(task, state, target, checkout, policy)
    try:
        before_switch(task, task.places.release(name), policy)
        hand_over(task, task.journal.state(), name, target.commit)
        if target.pinned:
            task.journal.add(pin_of(task, target))
    finally:
        task.stop_the_clock()  # However it went, it is decided now.
        with task.recorder.step("prune"):
            prune(task, task.journal.state())
    return Ending(Status.SUCCEEDED, healthy=True)


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


def _hint(task: Task, state: AppState) -> str | None:
    """What to type when an unchanged app is not what the person wanted; nothing when the head simply serves."""
    deployed = state.deployed
    if deployed is not None and deployed.commit == task.deployment.commit:
        return None
    return f"push a newer commit, or try this one by hand: hookd deploy {task.app.name}"
