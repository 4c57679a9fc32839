"""Jobs that went missing on their way: those of waiting deployments, and those in the hands of a worker that died."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, Final, Literal

from redis.exceptions import WatchError
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.deployment import Status
from hookd.model.ids import app_of, is_deployment
from hookd.queue.client import read_replies, watch
from hookd.queue.deployments import DeploymentStore
from hookd.queue.rq_classes import SafeJob, SafeQueue
from worker.recovery.liveness import is_running
from worker.recovery.worker_registry import read_entry

# A worker has a job in its hands, in neither queue nor registry, for less than a second.
_IN_HANDS_SECONDS: Final = 5.0
# Each worker runs one job: there are no more unless somebody forged them.
_MOST: Final = 100

# `there`: it will run, or runs. `lost`: nobody will ever run it. Otherwise how it ended, in RQ's words.
JobState = Literal["there", "lost", "ended", "canceled"]


def find_jobs(queue: SafeQueue, deployment_ids: Iterable[str]) -> Iterator[tuple[str, JobState]]:
    """Find out about the jobs of deployments, all at one moment: a job is always in exactly one place."""
    ids = list(deployment_ids)
    if not ids:
        return
    with queue.connection.pipeline() as pipeline:
        pipeline.lrange(queue.key, 0, -1)
        pipeline.lrange(queue.intermediate_queue_key, 0, -1)
        pipeline.zrange(queue.started_job_registry.key, 0, -1)
        for one in ids:
            pipeline.hget(SafeJob.key_for(one), "status")
            pipeline.zscore(f"{_limit(one)}:rate_limited", one)
        ready, in_hands, started, *rest = read_replies(pipeline)
    queued, running = {*(ready or ()), *(in_hands or ())}, _jobs(started or ())
    for one, status, limited in zip(ids, rest[::2], rest[1::2], strict=True):
        job = one.encode()
        # A status alone proves nothing: whoever asks for deployments can write it.
        runs = job in running or (status == JobStatus.STARTED.encode() and is_running(one))
        yield one, _state_of(status, queued=job in queued, limited=limited is not None, runs=runs)


def _jobs(entries: Iterable[bytes]) -> set[bytes]:
    """Name the jobs of the entries in the list of what workers run."""
    return {entry.partition(b":")[0] for entry in entries}


def _state_of(status: bytes | None, *, queued: bool, limited: bool, runs: bool) -> JobState:
    match (status or b"").decode("utf-8", "replace"):
        case "":
            return "lost"
        case JobStatus.QUEUED:
            return "there" if queued else "lost"
        case JobStatus.RATE_LIMITED:
            return "there" if limited else "lost"
        case JobStatus.STARTED:
            return "there" if runs else "lost"
        case JobStatus.CANCELED:
            return "canceled"
        case _:
            return "ended"


def enqueue_again(records: DeploymentStore, deployment_id: str, seconds: int) -> bool:
    """Give a waiting deployment a new job in place of its lost one; `seconds` is its longest run.

    False when it waits no more, or somebody else was faster.
    """
    job, app = SafeJob.key_for(deployment_id), app_of(deployment_id)
    with closing(records.connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, redis_keys.record_key(deployment_id), redis_keys.waiting_key(app), job)
        waiting = records.find(deployment_id)
        [(_, found)] = find_jobs(records.queue, [deployment_id])
        if waiting is None or waiting.status is not Status.QUEUED or found != "lost":
            return False
        pipeline.multi()
        pipeline.delete(job)
        # The id may still stand in line without its job: run twice, the deployment would be replayed.
        pipeline.lrem(records.queue.key, 0, deployment_id)
        pipeline.set(redis_keys.waiting_key(app), deployment_id)
        records.queue.enqueue_deployment(deployment_id, pipeline, timeout=seconds, keep=records.keep_seconds)
        pipeline.execute()
        return True
    return False


class StuckJobs:
    """Watches what workers have taken from the queue and not begun with; one that died there never will."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def look(self, queue: SafeQueue) -> list[str]:
        """Put back what has been there since an earlier look, and return its ids."""
        taken: Any = queue.connection.lrange(queue.intermediate_queue_key, 0, -1)
        started: Any = queue.connection.zrange(queue.started_job_registry.key, 0, -1) if taken else ()
        running = _jobs(started)
        now = time.monotonic()
        self._since = {one: self._since.get(one, now) for one in taken if one not in running}
        late = [one for one, since in self._since.items() if now - since >= _IN_HANDS_SECONDS]
        return [one.decode("utf-8", "replace") for one in late if _requeue(queue, one)]


class OrphanedJobs:
    """Watches jobs that run for RQ and that nobody runs: their deployments have ended, or have not begun.

    So it is when Redis takes what a worker notes at a job's start, or a deployment's ending, and then refuses all that
    job and worker have to say. RQ would hold the app's slot for a minute more.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def look(self, records: DeploymentStore) -> list[str]:
        """Name those that were so at an earlier look, too: a job takes a moment to begin, and to end."""
        started: Any = records.connection.zrange(records.queue.started_job_registry.key, 0, _MOST)
        ids = sorted({one for raw in _jobs(started) if is_deployment(one := raw.decode("utf-8", "replace"))})
        now = time.monotonic()
        self._since = {one: self._since.get(one, now) for one in ids if _is_orphaned(records, one)}
        return [one for one, since in self._since.items() if now - since >= _IN_HANDS_SECONDS]


def _is_orphaned(records: DeploymentStore, deployment_id: str) -> bool:
    """Tell whether nobody runs a job; one that has begun and died has left a sign of life, and is found by that."""
    record = records.find(deployment_id)
    if record is None or record.status is Status.RUNNING or is_running(deployment_id):
        return False
    name: Any = records.connection.hget(SafeJob.key_for(deployment_id), "worker_name")
    worker = read_entry(records.connection, (name or b"").decode("utf-8", "replace"))
    return worker is None or worker.is_here


def _requeue(queue: SafeQueue, raw: bytes) -> bool:
    """Move an id to the front of the queue, if its job still waits to be run; any other id is dropped."""
    in_hands, key = queue.intermediate_queue_key, SafeJob.key_for(raw.decode("utf-8", "replace"))
    with closing(queue.connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, in_hands, key)
        waits = pipeline.hget(key, "status") == JobStatus.QUEUED.encode()
        if pipeline.lpos(in_hands, raw) is None:  # type: ignore[arg-type]
            return False
        pipeline.multi()
        pipeline.lrem(in_hands, 1, raw)  # type: ignore[arg-type]
        if waits:
            pipeline.lpush(queue.key, raw)
        pipeline.execute()
        return waits
    return False


def _limit(deployment_id: str) -> str:
    return f"rq:rl:{redis_keys.rate_limit_key(app_of(deployment_id))}"
