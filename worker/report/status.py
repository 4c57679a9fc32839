"""Publishes what people see of an app: its status, its lag and the decisions about it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.app_status import AppStatus, compute_lag, with_journal_state
from hookd.model.decision import Assessment, Decision, Verdict
from hookd.model.deployment import Deployment, Status
from hookd.model.journal import AppState
from hookd.queue import decision_log
from hookd.queue.app_status import AppStatusStore

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class LagReason:
    """The reason why an app lags behind its head, and the number of commits if it can be counted."""

    assessment: Assessment
    commits: int | None = None


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
            changes["drift"] = None

        def change(earlier: AppStatus) -> AppStatus:
            seen = earlier.model_copy(update=changes)
            status = with_journal_state(seen, state, head_seen=head is not None)
            return status if reason is None else _with_lag(status, state, head, reason, earlier)

        self._change(app, change)

    def publish_lag(self, app: str, state: AppState, head: str, reason: LagReason) -> None:
        """Publish the lag behind a head that was seen before."""
        self._change(app, lambda earlier: _with_lag(earlier, state, head, reason, earlier))

    def _change(self, app: str, change: Callable[[AppStatus], AppStatus]) -> None:
        store = AppStatusStore(self.connection)
        try:
            store.publish(change(store.read(app)))
        except RedisError as error:
            event(log, "status not published", logging.WARNING, app=app, why=type(error).__name__)

    def record_decision(
        self,
        deployment: Deployment,
        verdict: Verdict,
        why: str,
        *,
        ending: Status | None = None,
        ref: str | None = None,
        head: str | None = None,
    ) -> None:
        """Add a decision about a deployment to the app's decision log."""
        self.record(
            Decision(
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
        )

    def record(self, decision: Decision) -> None:
        """Add a decision to the app's decision log."""
        try:
            decision_log.append_decision(self.connection, decision)
        except RedisError as error:
            event(log, "decision not recorded", logging.WARNING, app=decision.app, why=str(error))


def _with_lag(status: AppStatus, state: AppState, head: str | None, reason: LagReason, earlier: AppStatus) -> AppStatus:
    lag = compute_lag(state, head, reason.assessment, earlier, datetime.now(UTC), commits=reason.commits)
    return status.model_copy(update={"lag": lag})


def lag_text(state: AppState, head: str, last_attempt: str = "") -> str:
    """Return the sentence for a head that does not serve, with the result of the last attempt to deploy it."""
    deployed = state.deployed.commit[:12] if state.deployed else "nothing"
    result = f"; the last try {last_attempt}" if last_attempt else ""
    return f"{head[:12]} is the branch's head, and {deployed} serves{result}"
