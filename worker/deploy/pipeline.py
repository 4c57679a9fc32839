"""One deployment from top to bottom: recover_interrupted, fetch, decide, build, check, switch, verify, prune."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rq.timeouts import JobTimeoutException

from hookd import freezes
from hookd.eventlog import event
from hookd.files.policies import Policy, umask_of
from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import Status, StepName, Trigger
from hookd.model.eligibility import remedy_hint
from hookd.model.hint import AnyHint, Hint, HintKind
from hookd.model.journal import AppState, Quarantined, Unpinned
from worker.context import AppTask, Task
from worker.deploy import blue_green, restart
from worker.deploy.build import build, check, run_release_commands
from worker.deploy.repair import RepairResult, repair
from worker.deploy.retention import prune, prune_incomplete
from worker.deploy.target import Target, choose_target, decide, find_freeze, pin_event
from worker.errors import CommitRefused, DeployError
from worker.process.lock import app_lock
from worker.release.disk_space import check_free_space, flush
from worker.release.git_mirror import GitMirror
from worker.release.ownership import make_directories, release_policy

log: Final = logging.getLogger(__name__)

# One kill may be chance, such as a power cut. After this many in a row, the commit is to blame.
MAX_CRASHES: Final = 3


@dataclass(frozen=True)
class Ending:
    """The result of a deployment.

    `cause` is one sentence, `hint` the next command, and `head` the tip of the branch if it was fetched. `healthy` is
    True if the app answers, and None if that was not checked.
    """

    status: Status
    cause: str | None = None
    hint: AnyHint | None = None
    healthy: bool | None = None
    verdict: Verdict = Verdict.ENDED
    head: str | None = None


@dataclass(frozen=True)
class StatusUpdate:
    """An update of the app's published status: the state of its journal, the head, and the health."""

    state: AppState
    head: str | None = None
    healthy: bool | None = None


Publish = Callable[[StatusUpdate], None]


def deploy(task: Task, freeze_directory: Path, publish: Publish) -> Ending:
    """Bring the app to the head of its branch, or to the commit that an operator chose, and return the ending.

    `freeze_directory` has one file for each frozen app. All expected errors become endings. Others are raised.
    """
    try:
        with app_lock(task.places.lock, task.deployment.id, task.app.limits.lock_seconds):
            policy = release_policy(task.app.ownership)
            os.umask(umask_of(task.app.ownership))
            make_directories(task, policy)
            ending = _deploy_locked(task, policy, freeze_directory, publish)
            publish(StatusUpdate(task.journal.state(), healthy=ending.healthy))
            return ending
    except (DeployError, JobTimeoutException, OSError) as error:
        return _failed(task, error)


def _deploy_locked(task: Task, policy: Policy, freeze_directory: Path, publish: Publish) -> Ending:
    head: str | None = None
    try:
        recovered = recover_interrupted(task)
        state = _unpin(task, recovered.state)
        prune_incomplete(task, state)
        with task.recorder.step(StepName.DISK_SPACE):
            check_free_space(task)
        mirror = GitMirror(task.app, task.settings, task.places.mirror, task.places.home, task.recorder.line)
        with task.recorder.step(StepName.FETCH):
            head = mirror.fetch_head()
            target = choose_target(task, state, mirror, head)
        publish(StatusUpdate(state, head))
        state = _quarantine_crash_loop(task, state, target.commit)
        reason = decide(task, state, target, mirror, freeze_directory)
        if reason is not None:
            ending = _repair_ending(task, recovered) or _unchanged(reason, freeze_directory)
        else:
            with count_crash(task.places.crash_count, target.commit):
                name = _build_and_check(task, state, target, mirror, policy)
                ending = _switch_and_verify(task, target, name, policy, freeze_directory)
    except (DeployError, JobTimeoutException, OSError) as error:
        ending = _failed(task, error)
    return replace(ending, head=head)


def recover_interrupted(task: Task) -> RepairResult:
    """Finish an interrupted deployment. A reconcile deployment also repairs drift.

    A newer commit is deployed also after a failed repair.
    """
    if task.deployment.trigger is not Trigger.RECONCILE:
        return recover_release(task)
    repaired = repair(task, task.journal.state())
    # After a failed repair with blue-green, the idle service may be the only one that answers.
    return repaired if repaired.error is not None else repaired.merge(recover_release(task))


def recover_release(task: AppTask) -> RepairResult:
    """Finish an interrupted deployment, so that only a release with a passed health check serves."""
    match task.app.service.handover:
        case "restart":
            return restart.recover_interrupted(task, task.journal.state())
        case "blue-green":
            return blue_green.recover_interrupted(task, task.journal.state())


def _unpin(task: Task, state: AppState) -> AppState:
    if task.deployment.trigger is not Trigger.UNPIN or state.pin is None:
        return state
    task.recorder.line(f"no longer pinned to {state.pin.commit}")
    return task.journal.add(Unpinned(**task.stamp()))


def _build_and_check(task: Task, state: AppState, target: Target, mirror: GitMirror, policy: Policy) -> str:
    """Return the name of the release to switch to: the existing one for a rollback, or a new one."""
    if target.release is not None:
        name = target.release.name
    else:
        try:
            name = build(task, state, target, mirror, policy)
            check(task, name, target, policy)
        except CommitRefused as error:
            cause = task.cause_of(error)
            task.journal.add(Quarantined(**task.stamp(), commit=target.commit, served=False, cause=cause))
            raise
    task.recorder.note(release=name)
    return name


def _switch_and_verify(task: Task, target: Target, name: str, policy: Policy, freeze_directory: Path) -> Ending:
    """Run the release commands, let the release serve, check its health and prune. Rolls back a bad release."""
    try:
        # A build takes minutes, and the app may have been frozen meanwhile. Release commands cannot be undone.
        reason = find_freeze(task, freeze_directory)
        if reason is not None:
            return _unchanged(reason, freeze_directory)
        run_release_commands(task, task.places.release(name), policy)
        with task.recorder.step(StepName.FLUSH):
            flush(task, task.places.release(name))
        handover = restart if task.app.service.handover == "restart" else blue_green
        handover.switch_and_verify(task, task.journal.state(), name, target.commit, pin_event(task, target))
    finally:
        task.cancel_timeout()
        with task.recorder.step(StepName.PRUNE):
            prune(task, task.journal.state())
    return Ending(Status.SUCCEEDED, healthy=True)


def _repair_ending(task: Task, recovered: RepairResult) -> Ending | None:
    """Return the ending of a reconcile deployment that repaired drift. Raises the error of a failed repair."""
    if recovered.error is not None:
        raise recovered.error
    if not recovered.repaired or task.deployment.trigger is not Trigger.RECONCILE:
        return None
    return Ending(Status.SUCCEEDED, f"repaired: {'; '.join(recovered.repaired)}", healthy=recovered.healthy)


def _unchanged(reason: Assessment, freeze_directory: Path) -> Ending:
    is_frozen = reason.verdict is Verdict.FROZEN
    hint = freezes.thaw_hint(freeze_directory) if is_frozen else remedy_hint(reason.verdict)
    return Ending(Status.UNCHANGED, reason.why, hint, verdict=reason.verdict)


def _failed(task: Task, error: DeployError | JobTimeoutException | OSError) -> Ending:
    """Return the ending of a failed deployment."""
    match error:
        case DeployError():
            return Ending(error.ending, error.cause, error.hint, error.healthy, error.verdict)
        case OSError():
            event(log, "refused by the system", logging.ERROR, trace=True, deployment=task.deployment.id)
            cause = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
            return Ending(Status.FAILED, cause, Hint(HintKind.SHOW_LOG))
    return Ending(Status.FAILED, task.cause_of(error), Hint(HintKind.SHOW_LOG))


@contextmanager
def count_crash(path: Path, commit: str) -> Iterator[None]:
    """Count a crash for as long as the block runs, so that the count stays if the process is killed."""
    number = read_crash_count(path, commit) + 1
    try:
        with suppress(OSError):  # A full disk must not stop the deployment here.
            path.write_text(f"{commit} {number}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)


def read_crash_count(path: Path, commit: str) -> int:
    """Return how many deployments of a commit in a row were killed, or 0 if the file cannot be read."""
    with suppress(OSError, ValueError):
        found, number = path.read_text(encoding="utf-8").split()
        return int(number) if found == commit else 0
    return 0


def _quarantine_crash_loop(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit whose deployments were killed. A redelivery or an operator can still deploy it."""
    number = read_crash_count(task.places.crash_count, commit)
    if number < MAX_CRASHES or any(old.commit == commit for old in state.quarantined):
        return state
    cause = f"the deploying process was killed {number} times in a row"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
