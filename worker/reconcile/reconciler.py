"""Reconciles one app: observe and assess it, request a deployment if needed, and publish the status."""

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from hookd import freezes
from hookd.config import Config, configured_at
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.app import App
from hookd.model.decision import Assessment, Decision, Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.journal import AppState
from hookd.model.settings import AppPaths
from hookd.model.text import printable
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from hookd.queue.published import read_decisions
from worker.errors import DeployError, TimedOut
from worker.journal import Journal
from worker.process.lock import is_running
from worker.reconcile.assess import DeploymentNeeded, Observation, assess
from worker.recovery.redis_repair import delete_bad_keys
from worker.release.git import commits_behind, read_head
from worker.report.status import LagReason, StatusPublisher
from worker.service.drift import DriftReport, start_command
from worker.service.manager import inspect_app
from worker.service.serving import with_health

log: Final = logging.getLogger(__name__)

# One timeout may be the repository's fault, or of an app with a short limit.
_TIMEOUTS_TO_OPEN: Final = 2
# The waits for health pages in one round, for all threads together.
_HEALTH_SECONDS: Final = 60.0
# The longest wait for a git host.
_GIT_SECONDS: Final = 20.0
# An error after so long counts as a timeout. Ssh reports one for a host that drops packets.
_SLOW_SECONDS: Final = 5.0
# The endings among which those that the backoff counts are searched. It is longest from the sixth on.
_HISTORY: Final = 20
# The number of decisions, most of them about deliveries, among which the last one of the reconciler is searched.
_DECISIONS: Final = 50


def server_of(repository: str) -> str:
    """Return the host and port of a repository, or the path of a local one."""
    if "://" not in repository:
        return repository.partition(":")[0].rpartition("@")[2].lower()
    return urlsplit(repository).netloc.rpartition("@")[2].lower() or repository


@dataclass(frozen=True)
class Reconciler:
    """Reconciles apps. Safe for threads.

    `timeouts` are the hosts that did not answer, once for each timeout. `waits` are the seconds of health pages.
    """

    config: Config
    store: DeploymentStore
    run_id: str = ""
    timeouts: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def reconcile(self, app: App) -> Assessment:
        """Reconcile an app and note the time of its poll. Raises RedisError, Contention and OSError."""
        at = datetime.now(UTC)
        delete_bad_keys(self.store.connection, app.name)
        history = tuple(self.store.history(app.name, _HISTORY))
        running = next(filter(_is_really_running, history), None)
        pending = self.store.waiting(app.name) or running
        observed = self._observe(app, history, asks_health=running is None)
        if pending is not None:
            assessment = _pending(pending)
            self._publish(app, observed, assessment)
            # Its deployment may fail, so the app is polled again soon.
            if pending.created_at < at - timedelta(seconds=app.reconcile.every):
                self._save_poll(app, at)
            return assessment
        assessed = assess(observed, datetime.now(UTC))
        if isinstance(assessed, DeploymentNeeded):
            # Later rounds match the deployment to the head by its `claimed_commit`.
            seconds, head = app.job_seconds, observed.head
            request = DeploymentRequest(app.name, Trigger.RECONCILE, seconds, claimed_commit=head)
            requested = self.store.request(request).deployment
            pending = self.store.find(requested)
            assessment = Assessment(verdict=Verdict.QUEUED, why=assessed.why)
            self._publish(app, observed, _pending(pending) if pending is not None else assessment)
        else:
            requested, assessment = None, assessed
            self._publish(app, observed, assessment)
        self._note_change(app, observed, assessment, requested)
        self._save_poll(app, at)
        return assessment

    def _save_poll(self, app: App, at: datetime) -> None:
        fields: Any = {"at": at.timestamp(), "run_id": self.run_id}
        self.store.connection.hset(redis_keys.polled_key(app.name), mapping=fields)

    def _observe(self, app: App, history: tuple[Deployment, ...], *, asks_health: bool) -> Observation:
        state = self._state(app)
        running = inspect_app(app, state, AppPaths(app, self.config.settings))
        if asks_health:
            running = self._with_health(app, state, running)
        freeze = freezes.active_freeze(self.config.freeze_directory, app.name, datetime.now(UTC))
        start = start_command(app, state.colour)
        configured = configured_at(self.config, app)
        observed = Observation(
            app.name, state, running, freeze=freeze, history=history, start=start, configured_at=configured
        )
        try:
            return replace(observed, head=self._head(app))
        except DeployError as error:
            return replace(observed, problem=printable(error.cause))

    def _with_health(self, app: App, state: AppState, running: DriftReport) -> DriftReport:
        """Ask the health page, unless hung apps have delayed this round enough. The next round asks others first."""
        if sum(self.waits) >= _HEALTH_SECONDS:
            return running
        began = time.monotonic()
        try:
            return with_health(app, state.colour, running)
        finally:
            self.waits.append(time.monotonic() - began)

    def _head(self, app: App) -> str:
        """Return the head, unless the circuit breaker of the git host is open. Raises DeployError."""
        host, began = server_of(app.repository), time.monotonic()
        if self.timeouts.count(host) >= _TIMEOUTS_TO_OPEN:
            raise DeployError(f"{app.repository} is not asked: its host did not answer for two other apps")
        try:
            return read_head(app, self.config.settings, _GIT_SECONDS)
        except DeployError as error:
            if isinstance(error, TimedOut) or time.monotonic() - began >= _SLOW_SECONDS:
                self.timeouts.append(host)
            raise

    def _state(self, app: App) -> AppState:
        return Journal(self.config.settings.journal_path(app.name)).state()

    def _publish(self, app: App, observed: Observation, assessment: Assessment) -> None:
        """Publish the app's status from its journal, so that a status Redis has lost comes back.

        The lag and the health are left out if a deployment changed the journal since the observation.
        """
        commits = commits_behind(app, self.config.settings, observed.state, observed.head)
        state, running, publisher = self._state(app), observed.running, StatusPublisher(self.store.connection)
        if state != observed.state:
            publisher.publish(app.name, state, head=observed.head)
            return
        is_down = running.is_stopped or any(drift.kind == "service" for drift in running.drifts)
        publisher.publish(
            app.name,
            state,
            head=observed.head,
            healthy=False if is_down else running.is_healthy,
            reason=LagReason(assessment, commits),
            drift=running.summary if is_down or running.drifts or running.is_healthy is False else None,
        )

    def _note_change(self, app: App, observed: Observation, assessment: Assessment, requested: str | None) -> None:
        """Note the decision, unless it is the same as the last one."""
        deployed = observed.state.deployed
        decision = Decision(
            at=datetime.now(UTC),
            app=app.name,
            source="reconcile",
            verdict=assessment.verdict,
            why=assessment.why,
            ref=app.ref,
            head=observed.head,
            deployed=deployed.commit if deployed else None,
            running=observed.running.summary,
            deployment=requested,
        )
        newest = read_decisions(self.store.connection, app.name, _DECISIONS)
        last = next((old for old in newest if old.source == "reconcile"), None)
        if requested is None and last is not None and _is_same(last, decision):
            return
        StatusPublisher(self.store.connection).note(decision)
        event(log, decision.verdict, app=app.name, deployment=requested, why=decision.why)


def _is_really_running(record: Deployment) -> bool:
    """Return True if a deployment runs. A running record may be forged, or its process may be gone."""
    return record.status is Status.RUNNING and is_running(record.id)


def _pending(record: Deployment) -> Assessment:
    """Return the assessment of an app with a waiting or running deployment."""
    progress = f"runs since {record.started_at:%H:%M} UTC" if record.started_at else "waits for a worker"
    why = f"{record.id}, requested at {record.created_at:%Y-%m-%d %H:%M} UTC, {progress}"
    return Assessment(verdict=Verdict.QUEUED, why=why)


def _is_same(decision: Decision, other: Decision) -> bool:
    """Compare two decisions without their texts, which may name a time."""
    compared = {"verdict", "head", "deployed", "running"}
    return decision.model_dump(include=compared) == other.model_dump(include=compared)
