"""Looks after deployments that nobody works on any more: each gets an honest ending, or its job back.

What it does follows from how things stand, not from what happened: signs of life, records, jobs, journals. So it does
not matter who died when, and looking twice, or two workers at once, does no harm.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from typing import Any, Final

from redis import Redis

from hookd.config import Config
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.app import App
from hookd.model.decision import Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.model.ids import app_of, is_app, is_deployment
from hookd.model.settings import Settings
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import Contention, DeploymentRequest, DeploymentStore
from worker.recovery.liveness import (
    LIVENESS_SUFFIX,
    config_or_none,
    finish_crashed,
    is_running,
    records_on,
    remove_liveness_file,
)
from worker.recovery.lost_jobs import JobState, OrphanedJobs, StuckJobs, enqueue_again, find_jobs
from worker.recovery.redis_repair import app_keys, attempt, delete_bad_keys, delete_exhausted_streams
from worker.recovery.worker_registry import expire_executions
from worker.report.recorder import record_decision

log: Final = logging.getLogger(__name__)

# So often in a row a deployment that died is asked for again at once; then hookd-reconcile does it, ever more rarely.
_AT_ONCE: Final = 2
_BATCH: Final = 1000
# In each round so many apps have their turn to be looked at more closely, each at its newest records.
_TURN: Final = 20
_NEWEST: Final = 10
_NEVER_EXPIRES: Final = -1


def finish_and_retry(connection: Redis, job_id: str, status: Status, cause: str) -> None:
    """End a deployment whose process is gone, and ask for one that settles what it left and goes on."""
    ended = finish_crashed(connection, job_id, status, cause)
    config = config_or_none(app_of(job_id)) if ended is not None else None
    if ended is not None and config is not None:
        _retry(records_on(connection, config), config.catalogue.get(ended.app), ended)


def _retry(records: DeploymentStore, app: App | None, dead: Deployment) -> None:
    """Ask for a deployment of an app after one that died, unless one waits, or the last ones died, too."""
    if app is None or records.waiting(app.name):
        return
    ended = (one for one in records.history(app.name, _AT_ONCE + 2) if one.ended)
    row = list(takewhile(lambda one: one.trigger is Trigger.RECONCILE and one.status in RETRYABLE_ENDINGS, ended))
    if len(row) >= _AT_ONCE:
        event(log, "not asked for again at once", logging.WARNING, app=app.name, failed=len(row))
        return
    try:
        answer = records.request(DeploymentRequest(app.name, Trigger.RECONCILE, app.limits.deploy_seconds))
    except Contention:  # Others ask, too.
        return
    event(log, "asked for again", app=app.name, deployment=answer.deployment)
    if (asked := records.find(answer.deployment)) is not None:
        why = f"{dead.id} died; this one settles what it left, and goes on"
        record_decision(records.connection, asked, Verdict.QUEUED, why)


class Recovery:
    """One worker's looks, one after the other; a look at a thousand apps takes a few milliseconds.

    All records are read only when Redis began a new life, perhaps with older data than were lost. What is wrong with
    one app there costs no other its look.
    """

    def __init__(self) -> None:
        self._life: str | None = None
        self._turn = 0
        self._in_hands = StuckJobs()
        self._unended = OrphanedJobs()

    def look(self, connection: Redis) -> None:
        """Look once; raises redis.exceptions.RedisError."""
        config = config_or_none()
        if config is None:
            return  # Nothing can be told dead as long as nobody knows where the signs of life are.
        records, apps = records_on(connection, config), _apps(config)
        _finish_crashed_runs(records, config.settings)
        life = str(connection.info("server")["run_id"])
        if life != self._life:
            self._look_at_all(records, apps, config.settings)
            self._life = life
        _check_waiting(records, _waiting(connection, apps))
        some = self._next(apps)
        for app in some:
            _attempt(records, app, partial(_check_running, records, app))
        delete_exhausted_streams(connection, [redis_keys.REFUSALS, *map(redis_keys.decisions_key, some)])
        for job_id in self._in_hands.look(records.queue):
            event(log, "job put back", logging.WARNING, job=job_id)
        for job_id in self._unended.look(records):
            event(log, "nobody runs this job", logging.WARNING, job=job_id)
            expire_executions(connection, job_id)

    def _next(self, apps: list[str]) -> list[str]:
        """Take the apps whose turn it is."""
        if self._turn >= len(apps):
            self._turn = 0
        first, self._turn = self._turn, self._turn + _TURN
        return apps[first : self._turn]

    def _look_at_all(self, records: DeploymentStore, apps: list[str], settings: Settings) -> None:
        """Look at every record that has no ending."""
        delete_bad_keys(records.connection, {key: kind for app in apps for key, kind in app_keys(app).items()})
        unended = list(_unfinished(records, apps, settings.history.keep))
        for one in unended:
            if one.status is Status.RUNNING and not is_running(one.id):
                _attempt(records, one.app, partial(_finish_crashed_run, records, one.id))
        _check_waiting(records, [one.id for one in unended if one.status is Status.QUEUED])


def _attempt(records: DeploymentStore, app: str, step: Callable[[], object]) -> None:
    """Do one thing for one app; when it fails, what is of another kind among the app's keys is set aside."""
    if not attempt(app, step):
        delete_bad_keys(records.connection, app_keys(app))


def _apps(config: Config) -> list[str]:
    """Name the apps of the catalogue; their files are read only where one of them is needed."""
    return [name for name in config.app_names() if is_app(name)]


def _finish_crashed_runs(records: DeploymentStore, settings: Settings) -> None:
    """End what began on this host, and whose process is gone without having recorded an ending."""
    for path in sorted((settings.state / "locks").glob(f"*{LIVENESS_SUFFIX}")):
        one = path.name.removesuffix(LIVENESS_SUFFIX)
        if is_deployment(one) and not is_running(one):
            _attempt(records, app_of(one), partial(_finish_crashed_run, records, one))
            left = records.find(one)
            if left is None or left.status is not Status.RUNNING:
                remove_liveness_file(path)


def _check_running(records: DeploymentStore, app: str) -> None:
    """End what says that it runs, and has neither a process here nor a job: nobody ever began it."""
    running = [one.id for one in records.history(app, _NEWEST) if one.status is Status.RUNNING]
    for one, found in find_jobs(records.queue, running):
        if found != "there" and not is_running(one):
            _finish_crashed_run(records, one)


def _finish_crashed_run(records: DeploymentStore, deployment_id: str) -> None:
    record = records.find(deployment_id)
    if record is not None and record.status is Status.RUNNING:
        finish_and_retry(records.connection, deployment_id, Status.FAILED, "the worker died while it ran")
        expire_executions(records.connection, deployment_id)


def _waiting(connection: Redis, apps: list[str]) -> list[str]:
    """Name the waiting deployments, at most one per app; another app's is none."""
    found: list[Any] = []
    for some in _batches(apps):
        found += connection.mget([redis_keys.waiting_key(app) for app in some])
    ids = [_own_id(app, raw) for app, raw in zip(apps, found, strict=True)]
    return [one for one in ids if one is not None]


def _own_id(app: str, raw: bytes | None) -> str | None:
    """Read the id of a deployment of an app; None for anything else."""
    one = (raw or b"").decode("utf-8", "replace")
    return one if is_deployment(one) and app_of(one) == app else None


def _unfinished(records: DeploymentStore, apps: list[str], keep: int) -> Iterator[Deployment]:
    """Read the records that have no ending: those that do not expire."""
    for some in _batches([one for app in apps for one in _history(records.connection, app, keep)]):
        with records.connection.pipeline(transaction=False) as pipeline:
            for one in some:
                pipeline.ttl(redis_keys.record_key(one))
            left = pipeline.execute()
        for one, seconds in zip(some, left, strict=True):
            record = records.find(one) if seconds == _NEVER_EXPIRES else None
            if record is not None:
                yield record


def _history(connection: Redis, app: str, keep: int) -> list[str]:
    ids: Any = connection.zrange(redis_keys.history_key(app), 0, keep - 1, desc=True)
    return [one for one in (_own_id(app, raw) for raw in ids) if one is not None]


def _batches(items: list[str]) -> Iterator[list[str]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _check_waiting(records: DeploymentStore, deployment_ids: list[str]) -> None:
    for one, found in find_jobs(records.queue, deployment_ids):
        if found != "there":
            _attempt(records, app_of(one), partial(_resolve, records, one, found))


def _resolve(records: DeploymentStore, deployment_id: str, found: JobState) -> None:
    """Give a waiting deployment whose job will not run its job back, or its ending."""
    record = records.find(deployment_id)
    if record is None or record.status is not Status.QUEUED:
        return
    match found:
        case "lost":
            _restore(records, record)
        case "canceled":
            finish_crashed(records.connection, deployment_id, Status.CANCELLED, "a person cancelled its job")
        case _:
            finish_and_retry(records.connection, deployment_id, Status.FAILED, "its job ended without it")


def _restore(records: DeploymentStore, waiting: Deployment) -> None:
    """Give a deployment its job again, unless a newer one has taken its place."""
    newest = next((one.id for one in records.history(waiting.app, 1)), waiting.id)
    if newest != waiting.id:
        cause = f"its job was lost, and {newest} is newer"
        with suppress(IllegalTransition, NoSuchDeployment, Contention):
            records.change(
                waiting.id,
                lambda old: advance(old, Status.SUPERSEDED, datetime.now(UTC), superseded_by=newest, cause=cause),
            )
        return
    config = config_or_none(waiting.app)
    app = config.catalogue.get(waiting.app) if config is not None else None
    if app is not None and enqueue_again(records, waiting.id, app.limits.deploy_seconds):
        event(log, "job enqueued again", logging.WARNING, app=waiting.app, deployment=waiting.id)
