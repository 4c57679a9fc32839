"""Keeps Redis usable: logs and deletes keys of the wrong type and registries that cannot be read.

The journals on disk are the truth, so hookd writes deleted keys again.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis import Redis
from rq.queue import Queue
from rq.rate_limit import RateLimitRegistry
from rq.worker_registration import clean_worker_registry

from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.queue import rq_keys

log: Final = logging.getLogger(__name__)

# Streams number their entries by the time in milliseconds. This is past the year 9000.
_MAX_STREAM_TIME: Final = 2**48


def delete_bad_keys(connection: Redis, app: str) -> None:
    """Delete the keys of an app that hold another type."""
    types = {
        redis_keys.waiting_key(app): "string",
        redis_keys.history_key(app): "zset",
        redis_keys.coalesced_key(app): "hash",
        redis_keys.app_status_key(app): "string",
        redis_keys.decisions_key(app): "stream",
        redis_keys.counts_key(app): "hash",
        redis_keys.polled_key(app): "hash",
        rq_keys.rate_limit(app): "hash",
        rq_keys.allowed_jobs(app): "zset",
        rq_keys.held_jobs(app): "zset",
    }
    with connection.pipeline(transaction=False) as pipeline:
        for key in types:
            pipeline.type(key)
        found = [raw.decode() for raw in pipeline.execute()]
    for key, kind in zip(types, found, strict=True):
        if kind not in ("none", types[key]):
            _delete(connection, key, f"it is a {kind} and not a {types[key]}")


def delete_exhausted_streams(connection: Redis, streams: Iterable[str]) -> None:
    """Delete the streams that accept no more entries, because an entry has the last possible id."""
    keys = list(streams)
    with connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.xinfo_stream(key)
        found = pipeline.execute(raise_on_error=False)  # A missing stream is an error.
    for key, info in zip(keys, found, strict=True):
        if isinstance(info, dict) and int(info["last-generated-id"].partition(b"-")[0]) > _MAX_STREAM_TIME:
            _delete(connection, key, "it accepts no more entries")


def _delete(connection: Redis, key: str, why: str) -> None:
    event(log, "key deleted", logging.ERROR, key=key, why=why)
    connection.delete(key)


def clean_registries(queue: Queue, handlers: list[Any]) -> None:
    """Clean up the RQ registries that hookd uses, and delete one that cannot be read."""
    connection, started = queue.connection, queue.started_job_registry
    steps: dict[str, Callable[[], object]] = {
        started.key: lambda: started.cleanup(exception_handlers=handlers),
        rq_keys.FINISHED_JOBS: queue.finished_job_registry.cleanup,
        rq_keys.FAILED_JOBS: queue.failed_job_registry.cleanup,
        rq_keys.QUEUE_WORKERS: lambda: clean_worker_registry(queue),
    }
    names: Any = connection.smembers(rq_keys.RATE_LIMITS)
    for limit in (RateLimitRegistry(name.decode("utf-8", "replace"), connection) for name in names):
        steps[limit.config_key] = limit.cleanup
    for key, step in steps.items():
        try:
            step()
        except ValueError as error:  # An entry is not UTF-8, or a limit is no number.
            _delete(connection, key, str(error))
