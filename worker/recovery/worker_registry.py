"""Which of the workers that stand in Redis's list live on this host, and how the dead ones are taken off it.

RQ waits until their keys expire, for 85 seconds, and until then lets nobody take their names.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import WatchError
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE
from rq.registry import StartedJobRegistry
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from hookd.model import redis_keys
from hookd.queue.client import watch
from worker.process.subreaper import stat_fields

_KEY: Final = "rq:worker:"
_WIP: Final = StartedJobRegistry.key_template.format(redis_keys.QUEUE)
# In /proc/PID/stat, counted from the state on: when the process started, in ticks since the host did.
_STATE, _STARTED = 0, 19


@dataclass(frozen=True)
class WorkerEntry:
    """What a worker has said of itself; `started` tells it from another process that got its number."""

    hostname: str
    pid: str
    started: str

    @property
    def is_here(self) -> bool:
        """Tell whether it is one of this host's."""
        return self.hostname == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Tell whether it lives, as far as can be known; of another host nothing can."""
        if not self.is_here or not self.pid.isdigit() or len(self.pid) > 9:
            return True
        try:
            found = stat_fields(int(self.pid))
        except (FileNotFoundError, ProcessLookupError):
            return _is_own(int(self.pid))
        return found[_STATE] not in "XZ" and self.started in ("", found[_STARTED])


def _is_own(pid: int) -> bool:
    """Tell whether there is such a process of this user's, although /proc does not show it.

    All workers of a host are one user's. After a power cut, another user's service may have got a worker's number.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def own_start_ticks() -> str:
    """When this process started, as it is written into its entry."""
    return stat_fields(os.getpid())[_STARTED]


def read_entry(connection: Redis | Pipeline, name: str) -> WorkerEntry | None:
    """Read a worker's entry; None for one that said good-bye: its name is free."""
    values: Any = connection.hmget(f"{_KEY}{name}", "death", "hostname", "pid", "started")
    if values[0] is not None or None in values[1:3]:
        return None
    return WorkerEntry(*((raw or b"").decode("utf-8", "replace") for raw in values[1:]))


def dead_workers(connection: Redis) -> Iterator[str]:
    """Name the workers of this host that are in the list and live no more."""
    keys: Any = connection.smembers(REDIS_WORKER_KEYS)
    for key in sorted(keys):
        name = key.decode("utf-8", "replace").removeprefix(_KEY)
        entry = read_entry(connection, name)
        if entry is not None and not entry.lives:
            yield name


def deregister(connection: Redis, name: str) -> bool:
    """Take a dead worker off the list, and let RQ take what it was running for abandoned; False if it lives again."""
    key, executions = f"{_KEY}{name}", WORKER_EXECUTIONS_KEY_TEMPLATE.format(name)
    with closing(connection.pipeline()) as pipeline, suppress(WatchError):
        watch(pipeline, key)
        entry = read_entry(pipeline, name)
        if entry is not None and entry.lives:
            return False
        running: Any = pipeline.smembers(executions)
        pipeline.multi()
        for execution in running:
            _expire(pipeline, execution.decode("utf-8", "replace"))
        pipeline.srem(REDIS_WORKER_KEYS, key)
        pipeline.srem(WORKERS_BY_QUEUE_KEY % redis_keys.QUEUE, key)
        pipeline.delete(key, executions)
        pipeline.execute()
        return True
    return False


def expire_executions(connection: Redis, job_id: str) -> None:
    """Let RQ take a job for abandoned, whoever ran it."""
    entries: Any = connection.zrange(_WIP, 0, -1)
    with connection.pipeline() as pipeline:
        for entry in entries:
            if entry.startswith(f"{job_id}:".encode()):
                _expire(pipeline, entry.decode("utf-8", "replace"))
        pipeline.execute()


def _expire(pipeline: Pipeline, execution: str) -> None:
    """Let the time of an execution be over, so that RQ's own cleaning up fails its job and frees the app's slot."""
    job_id, _, execution_id = execution.partition(":")
    pipeline.zadd(_WIP, {execution: 1}, xx=True)
    pipeline.zrem(f"rq:executions:{job_id}", execution_id)
    pipeline.delete(f"rq:execution:{execution}")


def is_registered(connection: Redis, name: str) -> bool:
    """Tell whether Redis still knows everything of a worker that others look for."""
    key = f"{_KEY}{name}"
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.hexists(key, "birth")
        pipeline.sismember(REDIS_WORKER_KEYS, key)
        pipeline.sismember(WORKERS_BY_QUEUE_KEY % redis_keys.QUEUE, key)
        return all(pipeline.execute())


def register(connection: Redis, name: str, entry: dict[Any, Any]) -> None:
    """Write a worker's entry, as RQ does at its start."""
    key = f"{_KEY}{name}"
    with connection.pipeline() as pipeline:
        pipeline.hset(key, mapping=entry)
        pipeline.sadd(REDIS_WORKER_KEYS, key)
        pipeline.sadd(WORKERS_BY_QUEUE_KEY % redis_keys.QUEUE, key)
        pipeline.execute()
