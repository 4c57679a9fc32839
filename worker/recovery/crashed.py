"""The ending of a deployment whose process is gone: the one that its journal proves."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from redis import Redis
from redis.exceptions import ResponseError

from hookd.config import Config, config_or_none
from hookd.eventlog import event
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, IllegalTransition, Status, advance
from hookd.model.hint import Hint, HintKind
from hookd.model.ids import is_deployment
from hookd.model.journal import Built, Good, JournalEvent, Quarantined, Switched, fold
from hookd.model.settings import Settings
from hookd.queue.deployments import Contention, DeploymentStore, NoSuchDeployment
from worker.journal import Journal
from worker.phase.unit import stop_phases
from worker.process.lock import lock_holder
from worker.report.status import StatusPublisher, decision_about

log: Final = logging.getLogger(__name__)

# The cause of an ending if nothing else is known.
WORKER_DIED: Final = "the worker died while it ran"


def store_on(connection: Redis, config: Config | None) -> DeploymentStore:
    """Return the deployments on an open connection, also for a broken configuration."""
    settings = config.settings if config is not None else Settings()
    return DeploymentStore(connection, keep_seconds=settings.history_seconds)


def finish_crashed(connection: Redis, job_id: str, status: Status, cause: str) -> Deployment | None:
    """Record the ending of a deployment whose process is gone: the one its journal proves, or else `status`.

    Return the ended record, or None if there is none to end or Redis refused the change, which is logged. The units of
    its phases end afterwards: that takes seconds, in which another worker could record an ending of its own.
    """
    if not is_deployment(job_id):
        return None
    store = store_on(connection, config_or_none())
    running = store.find(job_id)
    try:
        ended = store.change(job_id, lambda old: _finished(old, status, cause))
    except (IllegalTransition, NoSuchDeployment):
        return None
    except (Contention, ResponseError) as error:
        event(log, "ending not recorded", logging.ERROR, deployment=job_id, why=str(error) or type(error).__name__)
        return None
    event(log, "ended", app=ended.app, deployment=ended.id, status=ended.status, cause=ended.cause)
    decision = decision_about(ended, Verdict.ENDED, ended.cause or "", ending=ended.status)
    StatusPublisher(connection).note(decision)
    _end_phases(running)
    return ended


def _end_phases(record: Deployment | None) -> None:
    """End the units in which the code of a running deployment's app may still run."""
    if record is None or record.status is not Status.RUNNING:
        return
    config = config_or_none(record.app)
    app = config.catalogue.get(record.app) if config is not None else None
    if config is None or app is None or lock_holder(config.settings.lock_path(app.name)) not in (None, record.id):
        return  # Another deployment runs, and these are its phases.
    for unit in stop_phases(app):
        event(log, "phase ended", logging.WARNING, deployment=record.id, unit=unit)


def _finished(old: Deployment, status: Status, cause: str) -> Deployment:
    outcome = Outcome(status, cause)
    if old.status is Status.RUNNING:
        outcome = infer_outcome(old, _journal_events(old.app), status, cause)
    hint = None if outcome.status is Status.SUCCEEDED else Hint(HintKind.DEPLOY)
    return advance(old, outcome.status, datetime.now(UTC), cause=outcome.cause, hint=hint)


def _journal_events(app: str) -> list[JournalEvent]:
    """Read an app's journal without its lock, which is safe because lines are only added and torn ones left out."""
    config = config_or_none()
    if config is None:
        return []
    try:
        return Journal(config.settings.journal_path(app)).events()
    except OSError as error:
        event(log, "journal not read", logging.ERROR, app=app, why=str(error))
        return []


@dataclass(frozen=True)
class Outcome:
    """An ending and its cause."""

    status: Status
    cause: str


def infer_outcome(record: Deployment, events: Sequence[JournalEvent], status: Status, cause: str) -> Outcome:
    """Return the ending that the journal proves for a crashed deployment, or else `status` and `cause`.

    The deployment succeeded if it verified its own release, which serves. It was rolled back if its own release was
    bad and it verified the one before. The next deployment recovers everything else.
    """
    own = [event for event in events if event.deployment == record.id]
    state = fold(events)
    if not state.verified:
        is_own_switch = any(isinstance(event, Switched) and event.release == state.current for event in own)
        after = f", after switching to {state.current} and before its health check" if is_own_switch else ""
        return Outcome(status, f"{cause}{after}")
    release = next((event.release for event in reversed(own) if isinstance(event, Built)), record.release)
    bad = next((event for event in own if isinstance(event, Quarantined) and event.served), None)
    if any(isinstance(event, Good) and event.release == state.current for event in own):
        if bad is not None and state.current != release:
            return Outcome(Status.ROLLED_BACK, f"{bad.cause}; {state.current} serves again ({cause})")
        if bad is None and release is not None and state.current == release:
            return Outcome(Status.SUCCEEDED, f"{cause}, after the health check of {release}")
    return Outcome(status, cause)
