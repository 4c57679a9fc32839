"""Jobs that got lost: those of waiting deployments, and those taken by a worker that died."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, Final, Literal

from redis.exceptions import WatchError
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.deployment import Status
from hookd.model.ids import app_of
from hookd.queue import rq_keys
from hookd.queue.client import watch
from hookd.queue.deployments import DeploymentStore
from hookd.queue.rq_classes import SafeJob, SafeQueue
from worker.process.lock import is_running
from worker.recovery.worker_registry import read_entry

# A worker holds a job in neither queue nor registry for less than a second.
_TAKEN_SECONDS: Final = 5.0

# `there`: it will run or runs. `lost`: no worker will run it. Otherwise its ending in RQ's words.
JobState = Literal["there", "lost", "ended", "canceled"]


def find_jobs(queue: SafeQueue, deployment_ids: Iterable[str]) -> Iterator[tuple[str, JobState]]:
    """Yield the state of each deployment's job. All are read at one moment, when a job is in exactly one place."""
    ids = list(deployment_ids)
    if not ids:
        return
    with queue.connection.pipeline() as pipeline:
        pipeline.lrange(rq_keys.READY_JOBS, 0, -1)
        pipeline.lrange(rq_keys.TAKEN_JOBS, 0, -1)
        pipeline.zrange(rq_keys.STARTED_JOBS, 0, -1)
        for job_id in ids:
            pipeline.hget(SafeJob.key_for(job_id), "status")
            pipeline.zscore(rq_keys.held_jobs(app_of(job_id)), job_id)
        ready, taken, started, *rest = pipeline.execute()
    queued, running = {*ready, *taken}, _job_ids(started)
    for job_id, status, held in zip(ids, rest[::2], rest[1::2], strict=True):
        job = job_id.encode()
        # The status alone may be forged.
        runs = job in running or (status == JobStatus.STARTED.encode() and is_running(job_id))
        yield job_id, _state_of(status, queued=job in queued, held=held is not None, runs=runs)


def _job_ids(entries: Iterable[bytes]) -> set[bytes]:
    """Return the job ids of the entries in RQ's registry of started jobs."""
    return {entry.partition(b":")[0] for entry in entries}


def _state_of(status: bytes | None, *, queued: bool, held: bool, runs: bool) -> JobState:
    match (status or b"").decode("utf-8", "replace"):
        case "":
            return "lost"
        case JobStatus.QUEUED:
            return "there" if queued else "lost"
        case JobStatus.RATE_LIMITED:
            return "there" if held else "lost"
        case JobStatus.STARTED:
            return "there" if runs else "lost"
        case JobStatus.CANCELED:
            return "canceled"
        case _:
            return "ended"


def enqueue_again(store: DeploymentStore, deployment_id: str, seconds: int) -> bool:
    """Give a waiting deployment a new job with a timeout of `seconds`. Return False if it needs none."""
    job, app = SafeJob.key_for(deployment_id), app_of(deployment_id)
    with closing(store.connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, redis_keys.record_key(deployment_id), redis_keys.waiting_key(app), job)
        waiting = store.find(deployment_id)
        [(_, state)] = find_jobs(store.queue, [deployment_id])
        if waiting is None or waiting.status is not Status.QUEUED or state != "lost":
            return False
        pipeline.multi()
        pipeline.delete(job)
        # A leftover id would run the deployment twice, and so replay it.
        pipeline.lrem(rq_keys.READY_JOBS, 0, deployment_id)
        pipeline.set(redis_keys.waiting_key(app), deployment_id)
        store.queue.enqueue_deployment(deployment_id, pipeline, timeout=seconds, keep=store.keep_seconds)
        pipeline.execute()
        return True
    return False


class Lingering:
    """Selects the items that were there at each call for several seconds."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def select(self, items: Iterable[bytes]) -> list[bytes]:
        now = time.monotonic()
        self._since = {item: self._since.get(item, now) for item in items}
        return [item for item, since in self._since.items() if now - since >= _TAKEN_SECONDS]


def requeue_stuck(queue: SafeQueue, lingering: Lingering) -> list[str]:
    """Put jobs back into the queue that a worker took and did not start before it died. Return their ids."""
    taken: Any = queue.connection.lrange(rq_keys.TAKEN_JOBS, 0, -1)
    started: Any = queue.connection.zrange(rq_keys.STARTED_JOBS, 0, -1) if taken else ()
    stuck = lingering.select(raw for raw in taken if raw not in _job_ids(started))
    return [raw.decode("utf-8", "replace") for raw in stuck if _requeue(queue, raw)]


def find_orphaned(store: DeploymentStore, lingering: Lingering) -> list[str]:
    """Return the ids of jobs that run for RQ alone: their deployments have ended, or have not started.

    Redis leaves them so if it accepts the worker's note of a job's start and then refuses all later writes. RQ would
    hold the app's slot for another minute. A job that starts or ends is one for a moment, and is left out.
    """
    started: Any = store.connection.zrange(rq_keys.STARTED_JOBS, 0, -1)
    orphaned = (raw for raw in sorted(_job_ids(started)) if _is_orphaned(store, raw.decode("utf-8", "replace")))
    return [raw.decode() for raw in lingering.select(orphaned)]


def _is_orphaned(store: DeploymentStore, job_id: str) -> bool:
    """Return True if no process of this host runs the job. A running record is recovered by its liveness file."""
    record = store.find(job_id)
    if record is None or record.status is Status.RUNNING or is_running(job_id):
        return False
    name: Any = store.connection.hget(SafeJob.key_for(job_id), "worker_name")
    worker = read_entry(store.connection, (name or b"").decode("utf-8", "replace"))
    return worker is None or worker.is_here


def _requeue(queue: SafeQueue, raw: bytes) -> bool:
    """Move an id to the front of the queue if its job still waits, and drop any other id."""
    key = SafeJob.key_for(raw.decode("utf-8", "replace"))
    with closing(queue.connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, rq_keys.TAKEN_JOBS, key)
        waits = pipeline.hget(key, "status") == JobStatus.QUEUED.encode()
        if pipeline.lpos(rq_keys.TAKEN_JOBS, raw) is None:  # type: ignore[arg-type]
            return False
        pipeline.multi()
        pipeline.lrem(rq_keys.TAKEN_JOBS, 1, raw)  # type: ignore[arg-type]
        if waits:
            pipeline.lpush(rq_keys.READY_JOBS, raw)
        pipeline.execute()
        return waits
    return False
