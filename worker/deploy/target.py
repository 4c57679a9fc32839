"""Choose the commit to deploy, and decide if it may be deployed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd import freezes
from hookd.model.decision import Assessment, Verdict, block_reason
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Pinned, Quarantined, Release, Skipped
from worker.context import Task
from worker.errors import DeployError, Fault
from worker.release.git_mirror import GitMirror

# One kill may be chance, such as a power cut or a neighbour. After this many in a row, the commit is to blame.
MAX_CRASHES: Final = 3


@dataclass(frozen=True)
class Target:
    """The commit to deploy, the head of the branch, and the existing release for a rollback."""

    commit: str
    head: str
    release: Release | None = None


def choose_target(task: Task, state: AppState, mirror: GitMirror, head: str) -> Target:
    """Return the head, the commit that an operator named, or the release for a rollback, and record it.

    Raises DeployError if the named commit or release does not exist.
    """
    target = _choose(task, state, mirror, head)
    about = mirror.describe(target.commit)
    task.recorder.update(
        commit=target.commit,
        previous_commit=state.deployed.commit if state.deployed else None,
        author=task.recorder.clean(about.author),
        subject=task.recorder.clean(about.subject),
    )
    task.recorder.line(f"head is {head}; target is {target.commit}: {about.subject} ({about.author})")
    return target


def _choose(task: Task, state: AppState, mirror: GitMirror, head: str) -> Target:
    named = task.deployment.pinned_commit
    if task.deployment.trigger is Trigger.ROLLBACK and named is None:
        previous = state.previous_good
        if previous is None:
            raise DeployError("there is no earlier good release to go back to", hint=Hint(HintKind.NAME_COMMIT))
        return Target(previous.commit, head, previous)
    if named is None:
        return Target(head, head)
    commit = mirror.resolve(named)
    if task.deployment.trigger not in (Trigger.ROLLBACK, Trigger.REPLAY):
        return Target(commit, head)
    good = (release for release in reversed(state.releases) if release.good and release.commit == commit)
    return Target(commit, head, next(good, None))


def pin_event(task: Task, target: Target) -> Pinned | None:
    """Return the journal event for a commit that an operator chose, or None if the target is the head."""
    return Pinned(**task.stamp(), commit=target.commit, head=target.head) if target.commit != target.head else None


def quarantine_event(
    task: Task, commit: str, cause: str, fault: Fault, *, served: bool, is_first: bool = False
) -> Quarantined:
    """Return the quarantine of a commit. An edit ends it if the configuration is to blame, or may be without a harm.

    A first release replaces no good one.
    """
    ends = fault is Fault.CONFIGURATION or ((is_first or not served) and fault is not Fault.COMMIT)
    configured = task.configured_at if ends else None
    needs_fix = fault is Fault.COMMIT
    return Quarantined(
        **task.stamp(), commit=commit, served=served, cause=cause, configured_at=configured, needs_fix=needs_fix
    )


def reason_against(task: Task, state: AppState, target: Target, mirror: GitMirror) -> Assessment | None:
    """Return the reason not to deploy the target, or None to deploy it. Writes a new skip to the journal.

    The paths of the commit are compared here and not read from the journal, because the patterns of the app may have
    changed.
    """
    skipped = _compare_paths(task, state, target, mirror)
    freeze = freezes.active_freeze(task.freeze_directory, task.app.name, datetime.now(UTC))
    current = state.model_copy(update={"skipped": skipped})
    reason = block_reason(current, target.commit, task.deployment.trigger, freeze, task.configured_at)
    if reason is not None and reason.verdict is Verdict.SKIPPED and skipped is not None and skipped != state.skipped:
        task.journal.add(skipped)
    return reason


def _compare_paths(task: Task, state: AppState, target: Target, mirror: GitMirror) -> Skipped | None:
    """Return a skip if the target changes none of the app's paths since the current release."""
    base = state.deployed
    if task.deployment.trigger in MANUAL_TRIGGERS or base is None or not state.verified:
        return None
    if mirror.has_changes(base.commit, target.commit):
        return None
    known = state.skipped
    if known is not None and (known.commit, known.base) == (target.commit, base.commit):
        return known
    return Skipped(**task.stamp(), commit=target.commit, base=base.commit)


@contextmanager
def count_crash(path: Path, commit: str) -> Iterator[None]:
    """Count a crash for as long as the block runs, so that the count stays if a process is killed.

    That is this process, or the new release's.
    """
    number, was_killed = read_crash_count(path, commit) + 1, False
    try:
        with suppress(OSError):  # A full disk must not stop the deployment here.
            path.write_text(f"{commit} {number}\n", encoding="utf-8")
        yield
    except DeployError as error:
        was_killed = error.was_killed
        raise
    finally:
        if not was_killed:
            path.unlink(missing_ok=True)


def read_crash_count(path: Path, commit: str) -> int:
    """Return how many deployments of a commit in a row were killed, or 0 if the file cannot be read."""
    with suppress(OSError, ValueError):
        found, number = path.read_text(encoding="utf-8").split()
        return int(number) if found == commit else 0
    return 0


def was_killed_too_often(task: Task, commit: str) -> bool:
    """Return True if the deployments of a commit were killed so often in a row that it is to blame."""
    return read_crash_count(task.paths.crash_count, commit) >= MAX_CRASHES


def quarantine_crash_loop(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit whose deployments were killed. A redelivery or an operator can still deploy it."""
    if not was_killed_too_often(task, commit) or state.quarantine_of(commit):
        return state
    cause = f"the deploying process was killed {MAX_CRASHES} times in a row"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
