"""The steps of one deployment in their order; reads as what happens."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd import freezes
from hookd.files.policies import Policy, umask_of
from hookd.model.decision import Ruling, Verdict
from hookd.model.deployment import Status, StepName, Trigger
from hookd.model.eligibility import next_for
from hookd.model.journal import AppState, Pinned, Quarantined, Unpinned
from worker.context import Task
from worker.deploy import blue_green, restart
from worker.deploy.build import before_switch, build
from worker.deploy.repair import Settled, mend
from worker.deploy.retention import clear, prune
from worker.deploy.target import Target, decide, find_target, frozen_now, pin_of
from worker.errors import CommitRefused, DeployError
from worker.process.lock import app_lock
from worker.release import symlinks
from worker.release.disk_space import check_space
from worker.release.git_mirror import Checkout
from worker.release.ownership import make_directories, policy_of


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


def hand_over(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Make a release serve; its files are on disk first. A person's pin is noted together with its success.

    Raises RolledBack when it is bad and the old one serves, RollbackFailed when that is not well either, and
    NothingServes when it is bad and there is no old one.
    """
    with task.recorder.step(StepName.FLUSH):
        task.run(symlinks.flush(task.places.release(name)))
    match task.app.service.handover:
        case "restart":
            restart.restart_into(task, state, name, commit, pin)
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
            return mended.then(restart.settle(task, state))
        case "blue-green":
            return mended.then(blue_green.settle(task, state))


# One may be chance, as a power cut is; after so many in a row the commit is to blame.
ENOUGH: Final = 3


def deaths_of(path: Path, commit: str) -> int:
    """How many processes in a row were killed while they deployed this commit; what cannot be read counts as none."""
    with suppress(OSError, ValueError):
        found, number = path.read_text(encoding="utf-8").split()
        return int(number) if found == commit else 0
    return 0


@contextmanager
def death_counted(path: Path, commit: str) -> Iterator[None]:
    """Count a death for as long as the block; a disk without room for that is no reason to deploy nothing."""
    number = deaths_of(path, commit) + 1
    try:
        with suppress(OSError):
            path.write_text(f"{commit} {number}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)


def quarantine_deadly(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit that killed whoever deployed it; a redelivery and a person may still try it again."""
    number = deaths_of(task.places.deaths, commit)
    if number < ENOUGH or any(old.commit == commit for old in state.quarantined):
        return state
    cause = f"the deploying process was killed {number} times in a row"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
