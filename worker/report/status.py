"""Publishes what people see of an app: its status, its lag and the decisions about it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.decision import NOTHING_DEPLOYED, Assessment, Decision, Freeze, Lag, Verdict, block_reason
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.journal import AppState
from hookd.queue.published import AppStatus, Quarantine, append_decision, publish_status, read_status

log: Final = logging.getLogger(__name__)

# Verdicts that are a lag of an app whose first deployment was tried.
_FIRST_LAGS: Final = frozenset({Verdict.WAITING, Verdict.QUARANTINED, Verdict.UNREACHABLE})


@dataclass(frozen=True)
class LagReason:
    """The reason why an app lags behind its head, and the number of commits if it can be counted."""

    assessment: Assessment
    commits: int | None = None


@contextmanager
def publishing(app: str) -> Iterator[None]:
    """Log an error of Redis or of the journal, because a status that is not published changes no ending."""
    try:
        yield
    except (OSError, RedisError) as error:
        event(log, "status not published", logging.WARNING, app=app, why=type(error).__name__)


@dataclass(frozen=True)
class StatusPublisher:
    """Publishes statuses and decisions. A Redis error is logged, and stops neither deployment nor reconciler."""

    connection: Redis

    def publish(
        self,
        app: str,
        state: AppState,
        *,
        head: str | None = None,
        healthy: bool | None = None,
        reason: LagReason | None = None,
        **changes: object,
    ) -> None:
        """Publish the journal's state. `head` and `healthy` were just found out, or are None."""
        now = datetime.now(UTC)
        if head is not None:
            changes |= {"head": head, "head_seen_at": now}
        if healthy is not None:
            changes |= {"healthy": healthy, "checked_at": now}
        if healthy:
            changes.setdefault("drift", None)

        def change(earlier: AppStatus) -> AppStatus:
            seen = earlier.model_copy(update=changes)
            status = with_journal_state(seen, state, head_seen=head is not None)
            return status if reason is None else _with_lag(status, state, head, reason, earlier)

        self._change(app, change)

    def publish_lag(self, app: str, state: AppState, head: str, reason: LagReason) -> None:
        """Publish the lag behind a head that was seen before."""
        self._change(app, lambda earlier: _with_lag(earlier, state, head, reason, earlier))

    def _change(self, app: str, change: Callable[[AppStatus], AppStatus]) -> None:
        with publishing(app):
            publish_status(self.connection, change(read_status(self.connection, app)))

    def note(self, decision: Decision) -> None:
        """Add a decision to the app's decision log."""
        try:
            append_decision(self.connection, decision)
        except RedisError as error:
            event(log, "decision not recorded", logging.WARNING, app=decision.app, why=str(error))


def decision_about(
    deployment: Deployment,
    verdict: Verdict,
    why: str,
    *,
    ending: Status | None = None,
    ref: str | None = None,
    head: str | None = None,
) -> Decision:
    """Return the decision about a deployment."""
    return Decision(
        at=datetime.now(UTC),
        app=deployment.app,
        source="deployment",
        verdict=verdict,
        why=why,
        ending=ending,
        event=deployment.trigger,
        delivery=deployment.delivery,
        ref=ref,
        claimed_commit=deployment.claimed_commit,
        head=head,
        deployed=deployment.previous_commit,
        deployment=deployment.id,
    )


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
            "written": tuple(old.files for old in state.written),
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

    There is no lag if the head serves, if it changes none of the app's paths, or before the first deployment is tried.
    The lag of the same deployed commit keeps its start.
    """
    commit = state.deployed.commit if state.deployed else None
    if reason.verdict is Verdict.SKIPPED or (commit is not None and commit == head and state.verified):
        return None
    if commit is None and (reason == NOTHING_DEPLOYED or reason.verdict not in _FIRST_LAGS):
        return None
    continues = earlier.lag is not None and earlier.deployed_commit == commit
    since = earlier.lag.since if earlier.lag is not None and continues else now
    return Lag(**reason.model_dump(), commits=commits, since=since)


def _with_lag(status: AppStatus, state: AppState, head: str | None, reason: LagReason, earlier: AppStatus) -> AppStatus:
    lag = compute_lag(state, head, reason.assessment, earlier, datetime.now(UTC), commits=reason.commits)
    return status.model_copy(update={"lag": lag})


def reason_for_lag(
    state: AppState,
    head: str,
    last_attempt: str = "",
    freeze: Freeze | None = None,
    configured_at: datetime | None = None,
) -> Assessment:
    """Return what blocks a head that does not serve, or else its wait, with the result of the last attempt."""
    blocked = block_reason(state, head, Trigger.RECONCILE, freeze, configured_at)
    if blocked is not None:
        return blocked
    deployed = state.deployed.commit[:12] if state.deployed else "nothing"
    result = f"; the last try {last_attempt}" if last_attempt else ""
    why = f"{head[:12]} is the branch's head, and {deployed} serves{result}"
    return Assessment(verdict=Verdict.WAITING, why=why)
