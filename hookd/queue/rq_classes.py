"""RQ's job and queue, made safe: no data in Redis decides which code runs.

With RQ's own classes, a writer to Redis runs any importable function (as the job's function or as a callback), makes
the worker post to any URL, and with pickle runs code in each reader of the job. A malformed hash ends the worker.
"""

import logging
import zlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, TypeAdapter
from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.rate_limit import RateLimit
from rq.serializers import JSONSerializer

from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.ids import DeploymentId, app_of
from hookd.model.text import printable, truncate
from hookd.queue.rq_keys import TAKEN_JOBS

log: Final = logging.getLogger(__name__)

_DESCRIPTION_LENGTH: Final = 120
# A call with one deployment id has about 100 bytes. The limit guards against a compressed bomb.
_DATA_LENGTH: Final = 10_000
# Above these limits, Redis rejects an expiry and the kernel an alarm, and the job could never end.
_LONGEST_RUN: Final = 86_400
_LONGEST_KEEP: Final = 10 * 365 * 86_400
_CLEANING_SECONDS: Final = 10
_OneId = Annotated[list[DeploymentId], Field(min_length=1, max_length=1)]
_Nothing = Annotated[dict[str, str], Field(max_length=0)]
# Function, instance, arguments and named arguments, as RQ writes them.
_CALL: Final = TypeAdapter(tuple[redis_keys.Function, None, _OneId, _Nothing])
# A job's hash keeps only what a deployment needs. Callbacks, webhooks, retries, repeats and stored results are dropped.
_KEPT_FIELDS: Final = frozenset(
    b"data created_at origin worker_name description enqueued_at started_at ended_at last_heartbeat timeout result_ttl"
    b" failure_ttl ttl status rate_limit_key rate_limit_concurrency enqueue_at_front".split()
)


class RefusedJob(DeserializationError):
    """A job whose call is not in the allow-list."""


class SafeJob(Job):
    """A job with a function from an allow-list. No other field of its hash is trusted."""

    # Set by the worker, the only process that runs jobs.
    functions: ClassVar[dict[str, Callable[[str], Any]]] = {}

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection=connection, serializer=JSONSerializer)

    @property
    def func(self) -> Callable[[str], Any]:
        """The function to call. Raises RefusedJob for a name outside the allow-list."""
        try:
            return self.functions[str(self.func_name)]
        except KeyError:
            raise RefusedJob(f"job {self.id} names a function that is not allowed") from None

    def _deserialize_data(self) -> None:
        try:
            self._func_name, self._instance, self._args, self._kwargs = _CALL.validate_json(self.data)
        except ValueError as error:
            raise RefusedJob(f"job {self.id} names a call that is not allowed") from error

    def restore(self, raw_data: dict[bytes, bytes]) -> None:
        """Take a job's fields from a hash. Raises NoSuchJobError for a malformed one."""
        kept = {key: value for key, value in raw_data.items() if key in _KEPT_FIELDS}
        try:
            kept[b"data"] = _unpacked(kept[b"data"])
            super().restore(kept)
        except (KeyError, ValueError, AssertionError) as error:  # RQ asserts that a timeout is a number or text.
            event(log, "malformed job skipped", logging.WARNING, job=self.id, error=type(error).__name__)
            raise NoSuchJobError(f"malformed job: {self.id}") from error
        self.description = _short_line(self.description or "")
        self.origin = redis_keys.QUEUE
        self.timeout = _within(self.timeout, 1, _LONGEST_RUN)
        self.ttl = _within(self.ttl, 1, _LONGEST_KEEP)
        self.result_ttl = _within(self.result_ttl, 0, _LONGEST_KEEP)
        self.failure_ttl = _within(self.failure_ttl, 0, _LONGEST_KEEP)

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> "SafeJob":
        """Return a job. Raises NoSuchJobError for a missing or malformed one."""
        try:
            job = cls(id.split(":", maxsplit=1)[0], connection=connection)
        except ValueError as error:
            raise NoSuchJobError(f"not a job's id: {_short_line(id)}") from error
        job.refresh()  # type: ignore[no-untyped-call]
        return job


class SafeQueue(Queue):
    """A queue of safe jobs, also for `rq info`, which asks for RQ's own class."""

    job_class = SafeJob

    def __init__(self, name: str = redis_keys.QUEUE, connection: Redis | None = None, **options: Any) -> None:
        super().__init__(name, connection=connection, **{**options, "job_class": SafeJob, "serializer": JSONSerializer})

    def create_job(self, func: Any, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> SafeJob:
        """Return a job for an allowed function. Raises RefusedJob for every other."""
        job = super().create_job(func, args, kwargs, *rest, **options)
        job.data = job.data  # Drop the parsed call, so that it is checked like a stored one.
        job._deserialize_data()  # type: ignore[no-untyped-call]
        job.webhooks = []
        return job  # type: ignore[return-value]

    def acquire_maintenance_lock(self) -> bool:
        """Take the clean-up lock for 10 seconds. RQ's own outlives a killed worker for 15 minutes."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=_CLEANING_SECONDS))

    @classmethod
    def dequeue_any(  # type: ignore[override]
        cls, queues: Iterable[Queue], timeout: int | None, connection: Redis, **options: Any
    ) -> Any:
        """Take the next job and drop ids that are not UTF-8, which end RQ's own worker."""
        queues = list(queues)
        while True:
            try:
                return super().dequeue_any(queues, timeout, connection, **options)
            except UnicodeDecodeError:
                entries: Any = connection.lrange(TAKEN_JOBS, 0, -1)
                for raw in entries:
                    if raw.decode("utf-8", "ignore").encode() != raw:
                        connection.lrem(TAKEN_JOBS, 0, raw)

    @classmethod
    def _fetch_dequeued_job(  # type: ignore[override]
        cls, connection: Redis, queue_key: str, job_id: str, **options: Any
    ) -> Any:
        found = super()._fetch_dequeued_job(connection, queue_key, job_id, **options)
        if found is None:
            event(log, "no job, skipped", logging.WARNING, job=_short_line(job_id))
            connection.lrem(TAKEN_JOBS, 1, job_id)
            # A remaining status "queued" would make the app wait for the job.
            connection.delete(SafeJob.key_for(job_id))
        return found

    def enqueue_deployment(self, deployment_id: str, pipeline: Pipeline, *, timeout: int, keep: int) -> None:
        """Add a deployment's job to a transaction. `timeout` and `keep` are seconds.

        RQ's public call rejects a rate limit with a caller's pipeline, because the returned job would not know whether
        it was promoted. This method does not return the job.
        """
        app = app_of(deployment_id)
        job = self.create_job(
            redis_keys.DEPLOY,
            args=(deployment_id,),
            job_id=deployment_id,
            timeout=timeout,
            result_ttl=keep,
            failure_ttl=keep,
            description=f"deploy {app}",
            status=JobStatus.RATE_LIMITED,
            rate_limit=RateLimit(redis_keys.rate_limit_name(app), 1),
        )
        pipeline.sadd(self.redis_queues_keys, self.key)
        self._enqueue_rate_limited_job(job, pipeline=pipeline)


def _short_line(text: str) -> str:
    return printable(truncate(text, _DESCRIPTION_LENGTH))


def _unpacked(data: bytes) -> bytes:
    """Return a job's call, unpacked and packed like RQ does. Raises ValueError above the limit."""
    unpacker = zlib.decompressobj()
    try:
        plain, rest = unpacker.decompress(data, _DATA_LENGTH), unpacker.unconsumed_tail
    except zlib.error:
        plain, rest = data, b""  # RQ also reads unpacked data.
    if rest or len(plain) > _DATA_LENGTH:
        raise ValueError("a job's call is short")
    return zlib.compress(plain)


def _within(value: float | None, least: int, most: int) -> int | None:
    """Limit a number of seconds. A negative one means "no end" and becomes the largest."""
    if value is None:
        return None
    return most if value < 0 else int(min(max(value, least), most))
