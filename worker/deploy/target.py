"""Finds out what a deployment is to bring about: which commit, and whether a release of it is on disk already."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hookd import freezes
from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.eligibility import block_reason
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Pinned, Release, Skipped
from worker.context import Task
from worker.errors import DeployError
from worker.release.git_mirror import GitMirror


@dataclass(frozen=True)
class Target:
    """The commit to bring about; `head` is where the branch stands, `release` a good release to go back to."""

    commit: str
    head: str
    release: Release | None = None

    @property
    def pinned(self) -> bool:
        """Tell whether a person chose another commit than the head."""
        return self.commit != self.head


def find_target(task: Task, state: AppState, checkout: GitMirror) -> Target:
    """Fetch the branch and choose: its head, the commit that a person named, or the release to go back to.

    Raises DeployError when the branch cannot be fetched or what was named is not there.
    """
    head = checkout.fetch_head()
    target = _choose_target(task, state, checkout, head)
    about = checkout.describe(target.commit)
    task.recorder.note(
        commit=target.commit,
        previous_commit=state.deployed.commit if state.deployed else None,
        author=task.recorder.clean(about.author),
        subject=task.recorder.clean(about.subject),
    )
    task.recorder.line(f"head is {head}; target is {target.commit}: {about.subject} ({about.author})")
    return target


def _choose_target(task: Task, state: AppState, checkout: GitMirror, head: str) -> Target:
    wanted = task.deployment.pinned_commit
    if task.deployment.trigger is Trigger.ROLLBACK and wanted is None:
        previous = state.previous_good
        if previous is None:
            raise DeployError(
                "there is no earlier good release to go back to",
                hint=Hint(HintKind.NAME_COMMIT),
            )
        return Target(previous.commit, head, previous)
    if wanted is None:
        return Target(head, head)
    commit = checkout.resolve(wanted)
    kept = next((release for release in reversed(state.releases) if release.good and release.commit == commit), None)
    goes_back = task.deployment.trigger in (Trigger.ROLLBACK, Trigger.REPLAY)
    return Target(commit, head, kept if goes_back else None)


def pin_event(task: Task, target: Target) -> Pinned:
    """The journal's note that a person chose this commit."""
    return Pinned(at=datetime.now(UTC), deployment=task.deployment.id, commit=target.commit, head=target.head)


def decide(task: Task, state: AppState, target: Target, checkout: GitMirror, frozen: Path) -> Assessment | None:
    """Say why the target is not deployed; None means: deploy it.

    That it was passed over before counts for readers of the journal. Here the paths are compared anew, as the app's
    patterns may have changed since.
    """
    freeze = freezes.active_freeze(frozen, task.app.name, datetime.now(UTC))
    afresh = state.model_copy(update={"skipped": None})
    ruling = block_reason(afresh, target.commit, task.deployment.trigger, freeze)
    return ruling or _skip_unchanged_paths(task, state, target, checkout)


def freeze_ruling(task: Task, frozen: Path) -> Assessment | None:
    """Say that a person has frozen the app, if one has."""
    freeze = freezes.active_freeze(frozen, task.app.name, datetime.now(UTC))
    return Assessment(verdict=Verdict.FROZEN, why=str(freeze)) if freeze else None


def _skip_unchanged_paths(task: Task, state: AppState, target: Target, checkout: GitMirror) -> Assessment | None:
    """Pass over a head that changes none of the app's paths since what serves, and write that down."""
    base = state.deployed
    if task.deployment.trigger in MANUAL_TRIGGERS or base is None or not state.verified:
        return None
    if checkout.changes(base.commit, target.commit):
        return None
    passed = Skipped(**task.stamp(), commit=target.commit, base=base.commit)
    if state.skipped is None or (state.skipped.commit, state.skipped.base) != (passed.commit, passed.base):
        state = task.journal.add(passed)
    return block_reason(state, target.commit, task.deployment.trigger)
