"""Recovers abandoned deployments: each gets its ending, or its job back.

The decisions follow from liveness files, records, jobs and journals, and not from events. So the order of crashes does
not matter, and two workers may recover at once.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final

from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError
from rq.exceptions import StopRequested

from hookd.config import config_or_none
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.app import App
from hookd.model.decision import Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.model.ids import app_of, is_app, is_deployment
from hookd.model.settings import Settings
from hookd.queue.deployments import Contention, DeploymentRequest, DeploymentStore, NoSuchDeployment
from worker.process.lock import LIVENESS_SUFFIX, is_running
from worker.recovery.crashed import WORKER_DIED, finish_crashed, store_on
from worker.recovery.lost_jobs import JobState, Lingering, enqueue_again, find_jobs, find_orphaned, requeue_stuck
from worker.recovery.redis_repair import delete_exhausted_streams
from worker.recovery.worker_registry import expire_executions
from worker.report.status import StatusPublisher, decision_about

log: Final = logging.getLogger(__name__)

# Retries at once after a crash. Later ones are the reconciler's, with its backoff.
_IMMEDIATE_RETRIES: Final = 2
# Apps whose newest records are read in one round, and the number of these records.
_APPS_PER_ROUND: Final = 20
_RECORDS_PER_APP: Final = 10


def finish_and_retry(connection: Redis, job_id: str, status: Status, cause: str) -> None:
    """Record the ending of a crashed deployment, and request another one that recovers the app."""
    ended = finish_crashed(connection, job_id, status, cause)
    config = config_or_none(app_of(job_id)) if ended is not None else None
    if ended is not None and config is not None:
        _retry(store_on(connection, config), config.catalogue.get(ended.app), ended)


def _retry(store: DeploymentStore, app: App | None, crashed: Deployment) -> None:
    """Request a deployment, unless one waits or the last retries failed too."""
    if app is None or store.waiting(app.name):
        return
    ended = (record for record in store.history(app.name, _IMMEDIATE_RETRIES + 2) if record.ended)
    failed = takewhile(lambda record: record.trigger is Trigger.RECONCILE and record.status in RETRYABLE_ENDINGS, ended)
    if (number := len(list(failed))) >= _IMMEDIATE_RETRIES:
        event(log, "no immediate retry", logging.WARNING, app=app.name, failed=number)
        return
    try:
        answer = store.request(DeploymentRequest(app.name, Trigger.RECONCILE, app.job_seconds))
    except Contention:  # Another worker requests one too.
        return
    event(log, "retry requested", app=app.name, deployment=answer.deployment)
    if (requested := store.find(answer.deployment)) is not None:
        why = f"{crashed.id} crashed; this deployment recovers the app"
        StatusPublisher(store.connection).note(decision_about(requested, Verdict.QUEUED, why))


@contextmanager
def logging_errors(what: str) -> Iterator[None]:
    """Log an error of one task, so that the next ones go on. An unreachable Redis and a SIGTERM are raised.

    This is the one place of the worker's process for unexpected errors.
    """
    try:
        yield
    except (ConnectionError, TimeoutError, StopRequested):
        raise
    except Exception:
        event(log, "not cleaned up", logging.ERROR, trace=True, what=what)


class Recovery:
    """One worker's recovery rounds. An error with one app holds up no other app."""

    def __init__(self) -> None:
        self._next_app = 0
        self._taken = Lingering()
        self._orphaned = Lingering()

    def recover_abandoned(self, connection: Redis) -> None:
        """Run one round. Raises redis.exceptions.RedisError."""
        config = config_or_none()
        if config is None:
            return  # The place of the liveness files is unknown.
        store, apps = store_on(connection, config), list(filter(is_app, config.app_names()))
        _finish_crashed_runs(store, config.settings)
        waiting = zip(apps, store.waiting_ids(apps), strict=True)
        _check_jobs(store, [job for app, job in waiting if job and is_deployment(job) and app_of(job) == app])
        some = self._take_turn(apps)
        for app in some:
            # Redis may have lost the waiting key or restored older data.
            with logging_errors(app):
                _check_jobs(store, [record.id for record in store.history(app, _RECORDS_PER_APP) if not record.ended])
        delete_exhausted_streams(connection, [redis_keys.REFUSALS, *map(redis_keys.decisions_key, some)])
        for job_id in requeue_stuck(store.queue, self._taken):
            event(log, "job requeued", logging.WARNING, job=job_id)
        for job_id in find_orphaned(store, self._orphaned):
            event(log, "job orphaned", logging.WARNING, job=job_id)
            expire_executions(connection, job_id)

    def _take_turn(self, apps: list[str]) -> list[str]:
        if self._next_app >= len(apps):
            self._next_app = 0
        first, self._next_app = self._next_app, self._next_app + _APPS_PER_ROUND
        return apps[first : self._next_app]


def _finish_crashed_runs(store: DeploymentStore, settings: Settings) -> None:
    """End the deployments of this host whose process died before it recorded an ending."""
    for path in sorted((settings.state / "locks").glob(f"*{LIVENESS_SUFFIX}")):
        deployment_id = path.name.removesuffix(LIVENESS_SUFFIX)
        if is_deployment(deployment_id) and not is_running(deployment_id):
            with logging_errors(deployment_id):
                _finish_crashed_run(store, deployment_id)
                left = store.find(deployment_id)
                if left is None or left.status is not Status.RUNNING:
                    path.unlink(missing_ok=True)


def _finish_crashed_run(store: DeploymentStore, deployment_id: str) -> None:
    record = store.find(deployment_id)
    if record is not None and record.status is Status.RUNNING:
        finish_and_retry(store.connection, deployment_id, Status.FAILED, WORKER_DIED)
        expire_executions(store.connection, deployment_id)


def _check_jobs(store: DeploymentStore, deployment_ids: list[str]) -> None:
    for deployment_id, state in find_jobs(store.queue, deployment_ids):
        if state != "there":
            with logging_errors(deployment_id):
                _resolve(store, deployment_id, state)


def _resolve(store: DeploymentStore, deployment_id: str, state: JobState) -> None:
    """Give a deployment without a job its job back, or its ending."""
    record = store.find(deployment_id)
    if record is None or record.ended:
        return
    if record.status is Status.RUNNING:
        if not is_running(deployment_id):
            _finish_crashed_run(store, deployment_id)
        return
    match state:
        case "lost":
            _restore(store, record)
        case "canceled":
            finish_crashed(store.connection, deployment_id, Status.CANCELLED, "a person cancelled its job")
        case _:
            finish_and_retry(store.connection, deployment_id, Status.FAILED, "its job ended without it")


def _restore(store: DeploymentStore, waiting: Deployment) -> None:
    """Give a deployment its job back, unless a newer one took its place."""
    newest = next((record.id for record in store.history(waiting.app, 1)), waiting.id)
    if newest != waiting.id:
        changes = {"superseded_by": newest, "cause": f"its job was lost, and {newest} is newer"}
        with suppress(IllegalTransition, NoSuchDeployment, Contention):
            store.change(waiting.id, lambda old: advance(old, Status.SUPERSEDED, datetime.now(UTC), **changes))
        return
    config = config_or_none(waiting.app)
    app = config.catalogue.get(waiting.app) if config is not None else None
    if app is not None and enqueue_again(store, waiting.id, app.job_seconds):
        event(log, "job enqueued again", logging.WARNING, app=waiting.app, deployment=waiting.id)
