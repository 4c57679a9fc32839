"""The workers in Redis' list: which of this host are dead, and how they are taken off the list.

RQ itself keeps a dead worker and its name for 85 seconds, until its keys expire.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import WatchError

from hookd.queue import rq_keys
from hookd.queue.client import watch
from worker.process.subreaper import stat_fields

# Places in `stat_fields`: the state, and the start in ticks since the host's boot.
_STATE, _START_TICKS = 0, 19


@dataclass(frozen=True)
class WorkerEntry:
    """A worker's entry in Redis. `started` tells it from another process with the same number."""

    hostname: str
    pid: str
    started: str

    @property
    def is_here(self) -> bool:
        """Return True if the worker is of this host."""
        return self.hostname == socket.gethostname()

    @property
    def is_own(self) -> bool:
        """Return True if this process made the entry, before it rested."""
        return self.is_here and (self.pid, self.started) == (str(os.getpid()), own_start_ticks())

    @property
    def is_alive(self) -> bool:
        """Return True unless the worker is known to be dead. A worker of another host counts as alive."""
        if not self.is_here or not self.pid.isdigit():
            return True
        try:
            found = stat_fields(int(self.pid))
        except (FileNotFoundError, ProcessLookupError):
            return _is_own_process(int(self.pid))
        return found[_STATE] not in "XZ" and self.started in ("", found[_START_TICKS])


def _is_own_process(pid: int) -> bool:
    """Return True if this user has such a process that /proc hides. After a power cut it may be another user's."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def own_start_ticks() -> str:
    """Return the start of this process for its entry."""
    return stat_fields(os.getpid())[_START_TICKS]


def read_entry(connection: Redis | Pipeline, name: str) -> WorkerEntry | None:
    """Return a worker's entry, or None if its name is free."""
    values: Any = connection.hmget(rq_keys.worker(name), "death", "hostname", "pid", "started")
    if values[0] is not None or None in values[1:3]:
        return None
    return WorkerEntry(*((raw or b"").decode("utf-8", "replace") for raw in values[1:]))


def dead_workers(connection: Redis) -> Iterator[str]:
    """Yield the names of this host's dead workers."""
    keys: Any = connection.smembers(rq_keys.WORKERS)
    for key in sorted(keys):
        name = key.decode("utf-8", "replace").removeprefix(rq_keys.WORKER_PREFIX)
        entry = read_entry(connection, name)
        if entry is not None and not entry.is_alive:
            yield name


def register(connection: Redis, name: str, entry: Mapping[Any, Any]) -> None:
    """Write a worker's entry, as RQ does at its start."""
    key = rq_keys.worker(name)
    with connection.pipeline() as pipeline:
        pipeline.hset(key, mapping=dict(entry))
        pipeline.sadd(rq_keys.WORKERS, key)
        pipeline.sadd(rq_keys.QUEUE_WORKERS, key)
        pipeline.execute()


def is_registered(connection: Redis, name: str) -> bool:
    """Return True if Redis has all of a worker's entry."""
    key = rq_keys.worker(name)
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.hexists(key, "birth")
        pipeline.sismember(rq_keys.WORKERS, key)
        pipeline.sismember(rq_keys.QUEUE_WORKERS, key)
        return all(pipeline.execute())


def deregister(connection: Redis, name: str) -> bool:
    """Take a dead worker off the list and expire its executions. Return False if it is alive again."""
    key, executions = rq_keys.worker(name), rq_keys.worker_executions(name)
    with closing(connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, key)
        entry = read_entry(pipeline, name)
        if entry is not None and entry.is_alive:
            return False
        running: Any = pipeline.smembers(executions)
        pipeline.multi()
        for execution in running:
            _expire(pipeline, execution.decode("utf-8", "replace"))
        pipeline.srem(rq_keys.WORKERS, key)
        pipeline.srem(rq_keys.QUEUE_WORKERS, key)
        pipeline.delete(key, executions)
        pipeline.execute()
        return True
    return False


def expire_executions(connection: Redis, job_id: str) -> None:
    """Expire all executions of a job."""
    entries: Any = connection.zrange(rq_keys.STARTED_JOBS, 0, -1)
    with connection.pipeline() as pipeline:
        for entry in entries:
            if entry.startswith(f"{job_id}:".encode()):
                _expire(pipeline, entry.decode("utf-8", "replace"))
        pipeline.execute()


def _expire(pipeline: Pipeline, execution: str) -> None:
    """Expire an execution, so that RQ's next clean-up fails its job and frees the app's slot."""
    job_id, _, execution_id = execution.partition(":")
    pipeline.zadd(rq_keys.STARTED_JOBS, {execution: 1}, xx=True)
    pipeline.zrem(rq_keys.job_executions(job_id), execution_id)
    pipeline.delete(rq_keys.execution(execution))
