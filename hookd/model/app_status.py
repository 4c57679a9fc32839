"""What the worker last saw of an app, published for readers; the truth stays in the app's journal."""

from pydantic import AwareDatetime, BaseModel, ConfigDict

from hookd.model.decision import Lag, Verdict
from hookd.model.ids import AppName, CommitId, ReleaseName
from hookd.model.journal import AppState


class Quarantine(BaseModel):
    """A commit that is not deployed again by itself."""

    model_config = ConfigDict(frozen=True)
    commit: CommitId
    since: AwareDatetime
    cause: str


class AppStatus(BaseModel):
    """An app as the worker last saw it; `healthy` is None until a health check ran.

    `trouble` is what the last look found wrong with what runs; `passed_commit` a head that changes none of its paths.
    """

    model_config = ConfigDict(frozen=True)
    app: AppName
    deployed_commit: CommitId | None = None
    release: ReleaseName | None = None
    head: CommitId | None = None
    head_seen_at: AwareDatetime | None = None
    healthy: bool | None = None
    checked_at: AwareDatetime | None = None
    trouble: str | None = None
    pinned_commit: CommitId | None = None
    passed_commit: CommitId | None = None
    quarantined: tuple[Quarantine, ...] = ()
    behind: Lag | None = None


def with_journal_state(view: AppStatus, state: AppState, *, head_seen: bool = False) -> AppStatus:
    """Bring a view up to date with the app's journal; `head_seen` says that its head was seen just now."""
    deployed = state.deployed
    return view.model_copy(
        update={
            "behind": _remaining_lag(view, state, head_seen),
            "deployed_commit": deployed.commit if deployed else None,
            "release": deployed.name if deployed else None,
            "pinned_commit": state.pin.commit if state.pin else None,
            "passed_commit": state.passed.commit if state.passed else None,
            "quarantined": tuple(
                Quarantine(commit=old.commit, since=old.at, cause=old.cause) for old in state.quarantined
            ),
        }
    )


def _remaining_lag(view: AppStatus, state: AppState, head_seen: bool) -> Lag | None:
    """That the head is not known ends when it is seen; everything else, when the head serves."""
    if view.behind is None or view.behind.verdict is Verdict.UNREACHABLE:
        return None if head_seen else view.behind
    serves_head = state.deployed is not None and state.deployed.commit == view.head
    return None if serves_head else view.behind
