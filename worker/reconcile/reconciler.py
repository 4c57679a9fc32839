"""One look at one app: what is wanted, deployed and running; asks for a deployment if need be, and tells people."""

import logging
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

from redis.exceptions import ResponseError

from hookd import freezes
from hookd.config import Config
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.app_status import compute_lag, with_journal_state
from hookd.model.decision import Assessment, Decision, Verdict, short_text
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.journal import AppState
from hookd.model.paths import AppPaths
from hookd.queue import decision_log
from hookd.queue.app_status import AppStatusStore
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from worker.errors import DeployError, TimedOut
from worker.journal import Journal
from worker.probe import read_head
from worker.process.run import lines_of
from worker.reconcile.decision import Observation, decide
from worker.reconcile.lag import commits_behind
from worker.recovery.liveness import is_running
from worker.recovery.redis_repair import app_keys, delete_bad_keys
from worker.report.log_file import escape_control
from worker.service.drift import DriftReport, start_command
from worker.service.manager import inspect_app as look_at_services

# One repository alone may be slow; and an app whose own limit is short says little about its host.
_TIMEOUTS_TO_OPEN: Final = 2


class CircuitBreaker:
    """What one round has learnt about hosts; several threads may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waits: Counter[str] = Counter()

    def record_timeout(self, repository: str) -> None:
        """Remember that the repository's host gave no answer in time."""
        with self._lock:
            self._waits[git_host(repository)] += 1

    def is_open(self, repository: str) -> bool:
        """Tell whether waiting for the repository's host is of no use in this round."""
        with self._lock:
            return self._waits[git_host(repository)] >= _TIMEOUTS_TO_OPEN


def git_host(repository: str) -> str:
    """Name the host of a repository, with its port; a directory of this machine stands for itself."""
    if "://" not in repository:
        return repository.partition(":")[0].rpartition("@")[2].lower()
    return urlsplit(repository).netloc.rpartition("@")[2].lower() or repository


log: Final = logging.getLogger(__name__)

# Side by side with others: several threads look.
_ask: Final = partial(lines_of, alone=False)
# The longest wait for a git host's answer.
_GIT_SECONDS: Final = 20.0
# Who fails only after so long, as ssh does with a host that drops what it is sent, has kept a look waiting, too.
_SLOW_SECONDS: Final = 5.0
# Pauses between tries do not grow any more after this many.
_TRIES: Final = 20
# How far back the last decision of this kind is searched among those of deliveries.
_NOTED: Final = 50


@dataclass(frozen=True)
class ReconcileResult:
    """What a look decided; if it is not `done`, soon again: a deployment waits or runs, and may fail."""

    ruling: Assessment
    done: bool = True


@dataclass(frozen=True)
class Reconciler:
    """Looks at apps; several threads may do so with one."""

    config: Config
    records: DeploymentStore
    hosts: CircuitBreaker = field(default_factory=CircuitBreaker)

    def look(self, app: App) -> ReconcileResult:
        """Look at an app; raises RedisError, Contention and OSError."""
        delete_bad_keys(self.records.connection, app_keys(app.name))
        history = tuple(self.records.history(app.name, _TRIES))
        pending = self.records.waiting(app.name) or next(filter(_runs, history), None)
        found = self._find(app, history)
        now = datetime.now(UTC)
        if pending is not None:
            ruling = _pending_ruling(pending)
            self._publish(app, found, ruling, now)
            return ReconcileResult(ruling, done=pending.created_at < now - timedelta(seconds=app.reconcile.every))
        ruling = decide(found, now)
        asked = self._ask_for(app, found.head) if ruling.verdict is Verdict.QUEUED else None
        pending = self.records.find(asked)
        self._publish(app, found, _pending_ruling(pending) if pending else ruling, now)
        self._note(_decision(app, found, ruling, asked, now))
        return ReconcileResult(ruling)

    def _find(self, app: App, history: tuple[Deployment, ...]) -> Observation:
        settings = self.config.settings
        state = self._state(app)
        running = look_at_services(app, state, AppPaths(app.root, settings, app.name), _ask)
        freeze = freezes.active_freeze(self.config.frozen, app.name, datetime.now(UTC))
        found = Observation(
            app.name, state, running, freeze=freeze, history=history, start=start_command(app, state.colour)
        )
        try:
            return replace(found, head=self._head(app))
        except DeployError as error:
            return replace(found, problem=escape_control(error.cause))

    def _head(self, app: App) -> str:
        """Ask the git host, unless it has just kept others waiting; raises DeployError."""
        url = app.repository
        if self.hosts.is_open(url):
            raise DeployError(f"{url} is not asked: its host has just kept two other apps waiting")
        began = time.monotonic()
        try:
            return read_head(app, self.config.settings, _GIT_SECONDS, alone=False)
        except DeployError as error:
            if isinstance(error, TimedOut) or time.monotonic() - began >= _SLOW_SECONDS:
                self.hosts.record_timeout(url)
            raise

    def _state(self, app: App) -> AppState:
        return Journal(AppPaths(app.root, self.config.settings, app.name).journal).state()

    def _ask_for(self, app: App, head: str | None) -> str:
        """Ask for a deployment; that it names the head binds nobody, but tells a later look what it was meant for."""
        request = DeploymentRequest(app.name, Trigger.RECONCILE, app.limits.deploy_seconds, claimed_commit=head)
        return self.records.request(request).deployment

    def _publish(self, app: App, found: Observation, ruling: Assessment, now: datetime) -> None:
        """Show readers how the app stands, from its journal: so what Redis has lost comes back.

        How far it is behind was found with the journal of then: a deployment that went on meanwhile knows better.
        """
        commits = commits_behind(app, self.config.settings, found.state, found.head)
        earlier, state = AppStatusStore(self.records.connection).read(app.name), self._state(app)
        seen = {"head": found.head, "head_seen_at": now} if found.head else {}
        view = with_journal_state(earlier.model_copy(update=seen), state, head_seen=found.head is not None)
        if state == found.state:
            late = compute_lag(state, found.head, ruling, earlier, now, commits=commits)
            view = view.model_copy(update={"lag": late, **_health(found.running, now)})
        AppStatusStore(self.records.connection).publish(view)

    def _note(self, decision: Decision) -> None:
        """Keep what was decided, once: a look that finds the same as the last one says nothing new."""
        connection = self.records.connection
        noted = decision_log.read_newest(connection, str(decision.app), _NOTED)
        last = next((one for one in noted if one.source == "reconcile"), None)
        if decision.deployment is None and last is not None and _is_same(last, decision):
            return
        try:
            decision_log.append_decision(connection, decision)
        except ResponseError as error:  # What was decided holds all the same.
            event(log, "decision not kept", logging.ERROR, app=decision.app, why=str(error))
        event(log, decision.verdict, app=decision.app, deployment=decision.deployment, why=decision.why)


def _health(running: DriftReport, now: datetime) -> dict[str, object]:
    """What a look knows of an app's health: that it does not run as it should; whether it is well it does not ask."""
    if running.is_stopped or any(drift.kind == "service" for drift in running.drifts):
        return {"drift": running.summary, "healthy": False, "checked_at": now}
    return {"drift": running.summary if running.drifts else None}


def _runs(one: Deployment) -> bool:
    """Tell whether a deployment runs: a record says so also when somebody forged it, or its process is gone."""
    return one.status is Status.RUNNING and is_running(one.id)


def _pending_ruling(one: Deployment) -> Assessment:
    """Say that a deployment will bring the head; for how long nobody did anything is seen, too."""
    begun = f"runs since {one.started_at:%H:%M} UTC" if one.started_at else "waits for a worker"
    why = f"{one.id}, asked for at {one.created_at:%Y-%m-%d %H:%M} UTC, {begun}"
    return Assessment(verdict=Verdict.QUEUED, why=why)


def _decision(app: App, found: Observation, ruling: Assessment, asked: str | None, now: datetime) -> Decision:
    serving = found.state.deployed
    return Decision(
        at=now,
        app=app.name,
        source="reconcile",
        verdict=ruling.verdict,
        why=short_text(ruling.why),
        ref=short_text(app.ref),
        head=found.head,
        deployed=serving.commit if serving else None,
        running=short_text(found.running.summary),
        deployment=asked,
    )


def _is_same(one: Decision, other: Decision) -> bool:
    """Compare what was seen and decided; the words may name a time."""
    return (one.verdict, one.head, one.deployed, one.running) == (
        other.verdict,
        other.head,
        other.deployed,
        other.running,
    )
