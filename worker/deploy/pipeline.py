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
from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import Status, StepName, Trigger
from hookd.model.eligibility import remedy_hint
from hookd.model.hint import AnyHint
from hookd.model.journal import AppState, Pinned, Quarantined, Unpinned
from worker.context import Task
from worker.deploy import blue_green, restart
from worker.deploy.build import build, run_release_commands
from worker.deploy.repair import RepairResult, repair
from worker.deploy.retention import prune, prune_incomplete
from worker.deploy.target import Target, decide, find_target, freeze_ruling, pin_event
from worker.errors import CommitRefused, DeployError
from worker.process.lock import app_lock
from worker.release import symlinks
from worker.release.disk_space import check_free_space
from worker.release.git_mirror import GitMirror
from worker.release.ownership import make_directories, release_policy


@dataclass(frozen=True)
class Ending:
    """How a deployment ended: its status, why in one sentence, what to type next, and what was decided."""

    status: Status
    cause: str | None = None
    hint: AnyHint | None = None
    healthy: bool | None = None
    verdict: Verdict = Verdict.ENDED


@dataclass(frozen=True)
class StatusUpdate:
    """What became known about the app on the way, for its readers."""

    state: AppState
    head: str | None = None
    head_seen_at: datetime | None = None
    healthy: bool | None = None


def deploy(task: Task, frozen: Path, publish: Callable[[StatusUpdate], None]) -> Ending:
    """Bring the app to its branch's head, or to what a person chose; raises DeployError.

    `frozen` is the directory with a file for each frozen app.
    """
    with app_lock(task.places.lock, task.deployment.id, task.app.limits.lock_seconds):
        policy = release_policy(task.app.ownership)
        os.umask(umask_of(task.app.ownership))
        make_directories(task, policy)
        try:
            ending = _deploy_locked(task, frozen, policy, publish)
        except DeployError as error:
            publish(StatusUpdate(task.journal.state(), healthy=error.healthy))
            raise
        publish(StatusUpdate(task.journal.state(), healthy=ending.healthy))
        return ending


def _deploy_locked(task: Task, frozen: Path, policy: Policy, publish: Callable[[StatusUpdate], None]) -> Ending:
    settled = recover_interrupted(task, task.journal.state())
    state = _unpin(task, settled.state)
    prune_incomplete(task, state)
    with task.recorder.step(StepName.DISK_SPACE):
        check_free_space(task)
    checkout = GitMirror(task.app, task.settings, task.places.mirror, task.places.home, task.recorder.line)
    with task.recorder.step(StepName.FETCH):
        target = find_target(task, state, checkout)
    publish(StatusUpdate(state, target.head, datetime.now(UTC)))
    state = quarantine_crash_loop(task, state, target.commit)
    ruling = decide(task, state, target, checkout, frozen)
    if ruling is not None:
        return _repair_ending(task, settled) or _unchanged(task, ruling, frozen)
    with count_crash(task.places.crash_count, target.commit):
        name = _release_of(task, state, target, checkout, policy)
        return _switch(task, target, name, policy, frozen)


def _switch(task: Task, target: Target, name: str, policy: Policy, frozen: Path) -> Ending:
    """Hand over to a release that is built, unless the app was frozen meanwhile."""
    try:
        # Building takes a while, and migrations belong to what they are for: this is the last moment to stay as it is.
        ruling = freeze_ruling(task, frozen)
        if ruling is not None:
            return _unchanged(task, ruling, frozen)
        run_release_commands(task, task.places.release(name), policy)
        switch(task, task.journal.state(), name, target.commit, pin_event(task, target) if target.pinned else None)
    finally:
        task.cancel_timeout()  # However it went, it is decided now.
        with task.recorder.step(StepName.PRUNE):
            prune(task, task.journal.state())
    return Ending(Status.SUCCEEDED, healthy=True)


def _unpin(task: Task, state: AppState) -> AppState:
    """Follow the branch again when that is what was asked for."""
    if task.deployment.trigger is not Trigger.UNPIN or state.pin is None:
        return state
    task.recorder.line(f"no longer pinned to {state.pin.commit}")
    return task.journal.add(Unpinned(**task.stamp()))


def _repair_ending(task: Task, settled: RepairResult) -> Ending | None:
    """Say what was mended, where that is all there was to do; raises what could not be mended."""
    if settled.trouble is not None:
        raise settled.trouble
    if not settled.mended or task.deployment.trigger is not Trigger.RECONCILE:
        return None
    return Ending(Status.SUCCEEDED, f"mended: {'; '.join(settled.mended)}", healthy=settled.well)


def _unchanged(task: Task, ruling: Assessment, frozen: Path) -> Ending:
    """Leave everything as it is, and say what to type when that is not what the person wanted."""
    thaws = ruling.verdict is Verdict.FROZEN
    hint = freezes.thaw_hint(frozen) if thaws else remedy_hint(ruling.verdict)
    return Ending(Status.UNCHANGED, ruling.why, hint, verdict=ruling.verdict)


def _release_of(task: Task, state: AppState, target: Target, checkout: GitMirror, policy: Policy) -> str:
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


def switch(task: Task, state: AppState, name: str, commit: str, pin: Pinned | None) -> None:
    """Make a release serve; its files are on disk first. A person's pin is noted together with its success.

    Raises RolledBack when it is bad and the old one serves, RollbackFailed when that is not well either, and
    NothingServes when it is bad and there is no old one.
    """
    with task.recorder.step(StepName.FLUSH):
        task.run(symlinks.flush_command(task.places.release(name)))
    match task.app.service.handover:
        case "restart":
            restart.switch_and_verify(task, state, name, commit, pin)
        case "blue-green":
            blue_green.switch_to_idle(task, state, name, commit, pin)


def recover_interrupted(task: Task, state: AppState) -> RepairResult:
    """Finish what a killed deployment left open, so that only a release that was found well serves.

    A deployment that was asked for because something else runs than should also mends that. What could not be mended
    is no reason not to deploy a newer commit.
    """
    mended = repair(task, state) if task.deployment.trigger is Trigger.RECONCILE else RepairResult(state)
    if mended.trouble is not None:
        return mended  # The colour that should be idle may be the only one that answers.
    match task.app.service.handover:
        case "restart":
            return mended.then(restart.recover_interrupted(task, state))
        case "blue-green":
            return mended.then(blue_green.recover_interrupted(task, state))


# One may be chance, as a power cut is; after so many in a row the commit is to blame.
MAX_CRASHES: Final = 3


def crash_count(path: Path, commit: str) -> int:
    """How many processes in a row were killed while they deployed this commit; what cannot be read counts as none."""
    with suppress(OSError, ValueError):
        found, number = path.read_text(encoding="utf-8").split()
        return int(number) if found == commit else 0
    return 0


@contextmanager
def count_crash(path: Path, commit: str) -> Iterator[None]:
    """Count a death for as long as the block; a disk without room for that is no reason to deploy nothing."""
    number = crash_count(path, commit) + 1
    try:
        with suppress(OSError):
            path.write_text(f"{commit} {number}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)


def quarantine_crash_loop(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit that killed whoever deployed it; a redelivery and a person may still try it again."""
    number = crash_count(task.places.crash_count, commit)
    if number < MAX_CRASHES or any(old.commit == commit for old in state.quarantined):
        return state
    cause = f"the deploying process was killed {number} times in a row"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
