"""Keeps RQ's lists in Redis in order: one bad entry, or a key of a wrong type, must not stop what comes after it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError
from rq.exceptions import StopRequested
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE
from rq.queue import Queue
from rq.rate_limit import RateLimitRegistry
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY, clean_worker_registry

from hookd.eventlog import event
from hookd.model import redis_keys

log: Final = logging.getLogger(__name__)

# Streams number their entries by the time in milliseconds; this is past the year 9000.
_BEYOND_CLOCKS: Final = 2**48


@dataclass(frozen=True)
class CleanupStep:
    """One thing to clean up, and the key whose entries may stand in its way."""

    key: str
    clean: Callable[[], object]


def attempt(what: str, step: Callable[[], object]) -> bool:
    """Do one thing of several, and log what goes wrong; a Redis that is away and a SIGTERM end them all."""
    try:
        step()
    except (ConnectionError, TimeoutError, StopRequested):
        raise
    except Exception:  # RQ reads strangers' bytes here and raises whatever its parsers raise.
        event(log, "not cleaned up", logging.ERROR, trace=True, what=what)
        return False
    return True


def clean_registries(queue: Queue, handlers: list[Any]) -> None:
    """Do RQ's cleaning up, but for what hookd has none of; an entry that cannot be read is dropped."""
    for step in _steps(queue, handlers):
        if not attempt(step.key, step.clean):
            attempt(step.key, lambda key=step.key: _drop_unreadable(queue.connection, key))  # type: ignore[misc]


def _steps(queue: Queue, handlers: list[Any]) -> Iterator[CleanupStep]:
    started = queue.started_job_registry
    yield CleanupStep(started.key, lambda: started.cleanup(exception_handlers=handlers))
    for registry in (queue.finished_job_registry, queue.failed_job_registry):
        yield CleanupStep(registry.key, registry.cleanup)
    yield CleanupStep(RateLimitRegistry.rl_keys_key, lambda: _clean_limits(queue.connection))
    yield CleanupStep(WORKERS_BY_QUEUE_KEY % queue.name, lambda: clean_worker_registry(queue))


def _clean_limits(connection: Redis) -> None:
    for limit in RateLimitRegistry.all(connection):
        attempt(limit.config_key, limit.cleanup)


def worker_keys(worker: str) -> Mapping[str, str]:
    """Name the keys that a worker of that name cannot do without, each with its type."""
    queue = f"rq:queue:{redis_keys.QUEUE}"
    registries = (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry)
    return {
        queue: "list",
        f"{queue}:intermediate": "list",
        "rq:queues": "set",
        redis_keys.REFUSALS: "stream",
        REDIS_WORKER_KEYS: "set",
        WORKERS_BY_QUEUE_KEY % redis_keys.QUEUE: "set",
        RateLimitRegistry.rl_keys_key: "set",
        f"rq:worker:{worker}": "hash",
        WORKER_EXECUTIONS_KEY_TEMPLATE.format(worker): "set",
        **{kind.key_template.format(redis_keys.QUEUE): "zset" for kind in registries},
    }


def app_keys(app: str) -> Mapping[str, str]:
    """Name the keys of an app that nothing goes on without, each with its type."""
    limit = f"rq:rl:{redis_keys.rate_limit_key(app)}"
    return {
        redis_keys.waiting_key(app): "string",
        redis_keys.history_key(app): "zset",
        redis_keys.coalesced_key(app): "hash",
        redis_keys.app_status_key(app): "string",
        redis_keys.decisions_key(app): "stream",
        redis_keys.counts_key(app): "hash",
        redis_keys.polled_key(app): "hash",
        limit: "hash",
        f"{limit}:allowed": "zset",
        f"{limit}:rate_limited": "zset",
    }


def delete_bad_keys(connection: Redis, types: Mapping[str, str]) -> int:
    """Give keys that hold something else another name, and return how many; one of an earlier time is overwritten."""
    with connection.pipeline(transaction=False) as pipeline:
        for key in types:
            pipeline.type(key)
        found = [raw.decode() for raw in pipeline.execute()]
    wrong = [
        (key, kind) for (key, right), kind in zip(types.items(), found, strict=True) if kind not in ("none", right)
    ]
    for key, kind in wrong:
        _rename(connection, key, kind)
    return len(wrong)


def delete_exhausted_streams(connection: Redis, streams: Iterable[str]) -> None:
    """Give streams another name that take nothing more, since somebody used the last id that there is."""
    keys = list(streams)
    with connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.xinfo_stream(key)
        found = pipeline.execute(raise_on_error=False)  # One that is not there is an error, too.
    for key, told in zip(keys, found, strict=True):
        if isinstance(told, dict) and _milliseconds(told["last-generated-id"]) > _BEYOND_CLOCKS:
            _rename(connection, key, "nothing more")


def _milliseconds(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def _rename(connection: Redis, key: str, holds: str) -> None:
    event(log, "key set aside", logging.ERROR, key=key, holds=holds, now=redis_keys.aside_key(key))
    connection.rename(key, redis_keys.aside_key(key))


def _drop_unreadable(connection: Redis, key: str) -> None:
    """Drop the entries that are no text, whatever kind of list they stand in."""
    entries: Any
    match connection.type(key):
        case b"zset":
            entries, drop = connection.zrange(key, 0, -1), connection.zrem
        case b"set":
            entries, drop = connection.smembers(key), connection.srem
        case _:
            return
    bad = [raw for raw in entries if raw.decode("utf-8", "replace").encode() != raw]
    if bad:
        event(log, "unreadable entries dropped", logging.WARNING, key=key, count=len(bad))
        drop(key, *bad)
