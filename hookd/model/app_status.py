"""The status of an app, published by the worker for readers. The journal stays the truth."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel

from hookd.model.decision import Assessment, Lag, Verdict
from hookd.model.ids import AppName, CommitId, ReleaseName
from hookd.model.journal import AppState


class Quarantine(BaseModel, frozen=True):
    """A commit that is not deployed again without a person."""

    commit: CommitId
    since: AwareDatetime
    cause: str


class AppStatus(BaseModel, frozen=True):
    """An app as the worker last saw it.

    `healthy` is None until the first health check. `drift` is the difference between the running and the deployed
    release. `skipped_commit` is a head that changes none of the app's paths.
    """

    app: AppName
    deployed_commit: CommitId | None = None
    release: ReleaseName | None = None
    head: CommitId | None = None
    head_seen_at: AwareDatetime | None = None
    healthy: bool | None = None
    checked_at: AwareDatetime | None = None
    drift: str | None = None
    pinned_commit: CommitId | None = None
    skipped_commit: CommitId | None = None
    quarantined: tuple[Quarantine, ...] = ()
    lag: Lag | None = None


def with_journal_state(status: AppStatus, state: AppState, *, head_seen: bool = False) -> AppStatus:
    """Return the status with the journal's facts. `head_seen` means that the git host has just named the head."""
    deployed, lag = state.deployed, status.lag
    serves_head = deployed is not None and deployed.commit == status.head
    # An unknown head ends when the head is seen, any other lag when the head serves.
    if lag is not None and (head_seen if lag.verdict is Verdict.UNREACHABLE else serves_head):
        lag = None
    return status.model_copy(
        update={
            "lag": lag,
            "deployed_commit": deployed.commit if deployed else None,
            "release": deployed.name if deployed else None,
            "pinned_commit": state.pin.commit if state.pin else None,
            "skipped_commit": state.skipped.commit if state.skipped else None,
            "quarantined": tuple(
                Quarantine(commit=old.commit, since=old.at, cause=old.cause) for old in state.quarantined
            ),
        }
    )


def compute_lag(
    state: AppState,
    head: str | None,
    reason: Assessment,
    earlier: AppStatus,
    now: datetime,
    *,
    commits: int | None = None,
) -> Lag | None:
    """Return the lag behind `head`, which `commits` counts and `reason` explains.

    There is no lag if the head serves, if it changes none of the app's paths, or before the first deployment. The lag
    of the same deployed commit keeps its start.
    """
    deployed = state.deployed
    if deployed is None or reason.verdict is Verdict.SKIPPED or (deployed.commit == head and state.verified):
        return None
    continues = earlier.lag is not None and earlier.deployed_commit == deployed.commit
    since = earlier.lag.since if earlier.lag is not None and continues else now
    return Lag(commits=commits, since=since, verdict=reason.verdict, why=reason.why)
