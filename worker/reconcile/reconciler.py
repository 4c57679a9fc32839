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
from hookd.model.app_status import with_state
from hookd.model.decision import Decision, Ruling, Verdict, told
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.journal import AppState
from hookd.model.paths import Places
from hookd.queue import decision_log
from hookd.queue.deployments import Records, Request
from worker.errors import DeployError, TimedOut
from worker.journal import Journal
from worker.probe import head_of
from worker.process.run import lines_of
from worker.reconcile.decision import Found, weigh
from worker.reconcile.lag import behind, how_far
from worker.recovery.liveness import still_runs
from worker.recovery.redis_repair import of_app, set_aside
from worker.report.log_file import plain
from worker.service.drift import Running, how_to_start
from worker.service.manager import look as look_at_services

# One repository alone may be slow; and an app whose own limit is short says little about its host.
_ENOUGH: Final = 2


class Hosts:
    """What one round has learnt about hosts; several threads may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waits: Counter[str] = Counter()

    def kept_waiting(self, repository: str) -> None:
        """Remember that the repository's host gave no answer in time."""
        with self._lock:
            self._waits[host_of(repository)] += 1

    def is_given_up(self, repository: str) -> bool:
        """Tell whether waiting for the repository's host is of no use in this round."""
        with self._lock:
            return self._waits[host_of(repository)] >= _ENOUGH


def host_of(repository: str) -> str:
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
class Looked:
    """What a look decided; if it is not `done`, soon again: a deployment waits or runs, and may fail."""

    ruling: Ruling
    done: bool = True


@dataclass(frozen=True)
class Looker:
    """Looks at apps; several threads may do so with one."""

    config: Config
    records: Records
    hosts: Hosts = field(default_factory=Hosts)

    def look(self, app: App) -> Looked:
        """Look at an app; raises RedisError, Contention and OSError."""
        set_aside(self.records.connection, of_app(app.name))
        history = tuple(self.records.history(app.name, _TRIES))
        pending = self.records.waiting(app.name) or next(filter(_runs, history), None)
        found = self._find(app, history)
        now = datetime.now(UTC)
        if pending is not None:
            ruling = _pends(pending)
            self._publish(app, found, ruling, now)
            return Looked(ruling, done=pending.created_at < now - timedelta(seconds=app.reconcile.every))
        ruling = weigh(found, now)
        asked = self._ask_for(app, found.head) if ruling.verdict is Verdict.QUEUED else None
        pending = self.records.find(asked)
        self._publish(app, found, _pends(pending) if pending else ruling, now)
        self._note(_decision(app, found, ruling, asked, now))
        return Looked(ruling)

    def _find(self, app: App, history: tuple[Deployment, ...]) -> Found:
        settings = self.config.settings
        state = self._state(app)
        running = look_at_services(app, state, Places(app.root, settings, app.name), _ask)
        freeze = freezes.in_force(self.config.frozen, app.name, datetime.now(UTC))
        found = Found(app.name, state, running, freeze=freeze, history=history, start=how_to_start(app, state.colour))
        try:
            return replace(found, head=self._head(app))
        except DeployError as error:
            return replace(found, problem=plain(error.cause))

    def _head(self, app: App) -> str:
        """Ask the git host, unless it has just kept others waiting; raises DeployError."""
        url = app.repository
        if self.hosts.is_given_up(url):
            raise DeployError(f"{url} is not asked: its host has just kept two other apps waiting")
        began = time.monotonic()
        try:
            return head_of(app, self.config.settings, _GIT_SECONDS, alone=False)
        except DeployError as error:
            if isinstance(error, TimedOut) or time.monotonic() - began >= _SLOW_SECONDS:
                self.hosts.kept_waiting(url)
            raise

    def _state(self, app: App) -> AppState:
        return Journal(Places(app.root, self.config.settings, app.name).journal).state()

    def _ask_for(self, app: App, head: str | None) -> str:
        """Ask for a deployment; that it names the head binds nobody, but tells a later look what it was meant for."""
        request = Request(app.name, Trigger.RECONCILE, app.limits.deploy_seconds, claimed_commit=head)
        return self.records.request(request).deployment

    def _publish(self, app: App, found: Found, ruling: Ruling, now: datetime) -> None:
        """Show readers how the app stands, from its journal: so what Redis has lost comes back.

        How far it is behind was found with the journal of then: a deployment that went on meanwhile knows better.
        """
        commits = how_far(app, self.config.settings, found.state, found.head)
        earlier, state = self.records.view(app.name), self._state(app)
        seen = {"head": found.head, "head_seen_at": now} if found.head else {}
        view = with_state(earlier.model_copy(update=seen), state, head_seen=found.head is not None)
        if state == found.state:
            late = behind(state, found.head, ruling, earlier, now, commits=commits)
            view = view.model_copy(update={"behind": late, **_health(found.running, now)})
        self.records.publish(view)

    def _note(self, decision: Decision) -> None:
        """Keep what was decided, once: a look that finds the same as the last one says nothing new."""
        connection = self.records.connection
        noted = decision_log.newest(connection, str(decision.app), _NOTED)
        last = next((one for one in noted if one.source == "reconcile"), None)
        if decision.deployment is None and last is not None and _is_same(last, decision):
            return
        try:
            decision_log.note(connection, decision)
        except ResponseError as error:  # What was decided holds all the same.
            event(log, "decision not kept", logging.ERROR, app=decision.app, why=str(error))
        event(log, decision.verdict, app=decision.app, deployment=decision.deployment, why=decision.why)


def _health(running: Running, now: datetime) -> dict[str, object]:
    """What a look knows of an app's health: that it does not run as it should; whether it is well it does not ask."""
    if running.stopped or any(fault.kind == "service" for fault in running.faults):
        return {"trouble": running.says, "healthy": False, "checked_at": now}
    return {"trouble": running.says if running.faults else None}


def _runs(one: Deployment) -> bool:
    """Tell whether a deployment runs: a record says so also when somebody forged it, or its process is gone."""
    return one.status is Status.RUNNING and still_runs(one.id)


def _pends(one: Deployment) -> Ruling:
    """Say that a deployment will bring the head; for how long nobody did anything is seen, too."""
    begun = f"runs since {one.started_at:%H:%M} UTC" if one.started_at else "waits for a worker"
    why = f"{one.id}, asked for at {one.created_at:%Y-%m-%d %H:%M} UTC, {begun}"
    return Ruling(verdict=Verdict.QUEUED, why=why)


def _decision(app: App, found: Found, ruling: Ruling, asked: str | None, now: datetime) -> Decision:
    serving = found.state.deployed
    return Decision(
        at=now,
        app=app.name,
        source="reconcile",
        verdict=ruling.verdict,
        why=told(ruling.why),
        ref=told(app.ref),
        head=found.head,
        deployed=serving.commit if serving else None,
        running=told(found.running.says),
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
