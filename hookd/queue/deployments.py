"""Deployments in Redis: requested, coalesced, changed by the transition table, listed, deleted.

A hash holds each record as JSON. The number of coalesced pushes is counted apart from it.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import WatchError

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import (
    MANUAL_TRIGGERS,
    Deployment,
    Status,
    Trigger,
    advance,
    decode,
    encode,
)
from hookd.model.ids import app_of, is_deployment, new_deployment_id
from hookd.queue import answers, rq_keys
from hookd.queue.client import DeadlineTransaction, watch
from hookd.queue.counters import count_ending

if TYPE_CHECKING:
    from hookd.queue.rq_classes import SafeQueue

Result = TypeVar("Result")

_AUTOMATIC_TRIGGERS: Final = frozenset({Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE})
# Higher numbers retry more: a redelivery retries failed builds, a manual trigger retries everything.
_PRECEDENCE: Final = {Trigger.REDELIVERY: 1, Trigger.UNPIN: 2, **dict.fromkeys(MANUAL_TRIGGERS, 3)}
# Each try fails only if another writer succeeded. The bound is for a broken Redis.
_MAX_TRIES: Final = 1000
# RQ's names of the statuses of a job that will run or runs.
_ALIVE_STATUSES: Final = frozenset({"queued", "rate_limited", "started"})


class NoSuchDeployment(LookupError):
    """The record does not exist or is invalid."""


class Contention(Exception):
    """Other writers changed the record in every try."""


@dataclass(frozen=True)
class DeploymentRequest:
    """A request for a deployment. `seconds` is the job's longest run, `delivery` the sender's own id.

    `fingerprint` is the SHA-256 of a push's payload.
    """

    app: str
    trigger: Trigger
    seconds: int
    delivery: str | None = None
    fingerprint: str | None = None
    claimed_commit: str | None = None
    pinned_commit: str | None = None
    fresh: bool = False
    replay_of: str | None = None


@dataclass(frozen=True)
class RequestResult:
    """The deployment that answers a request: a new one is QUEUED, another is COALESCED or DUPLICATE."""

    deployment: str
    verdict: Verdict


# Adds commands to the transaction that answers a request.
ExtraWrites = Callable[[Pipeline, RequestResult], None]


def coalesces(request: DeploymentRequest, waiting: Deployment) -> bool:
    """Return True if the waiting deployment also serves the request: both want the head, and it retries as much.

    A waiting deployment of a chosen commit absorbs every automatic request, because a push must not undo a person's
    choice.
    """
    if _has_chosen_commit(waiting):
        return request.trigger in _AUTOMATIC_TRIGGERS
    if _has_chosen_commit(request) or (request.fresh and not waiting.fresh):
        return False
    return _PRECEDENCE.get(request.trigger, 0) <= _PRECEDENCE.get(waiting.trigger, 0)


def _has_chosen_commit(request: DeploymentRequest | Deployment) -> bool:
    return request.pinned_commit is not None or request.trigger is Trigger.ROLLBACK


class DeploymentStore:
    """All deployments.

    `keep_seconds` is the lifetime of an ended record. `timeout_seconds` limits a whole transaction with its retries.
    """

    def __init__(self, connection: Redis, *, keep_seconds: int, timeout_seconds: float = math.inf) -> None:
        self.connection = connection
        self.keep_seconds = keep_seconds
        self._timeout = timeout_seconds

    @cached_property
    def queue(self) -> "SafeQueue":
        """RQ's queue. RQ is imported here, because it takes longer than all that a reader does."""
        from hookd.queue.rq_classes import SafeQueue

        queue = SafeQueue(connection=self.connection)
        # Otherwise RQ asks for the version on another connection, only to recognize Redis 3.
        queue.redis_server_version = (7, 0, 0)
        return queue

    def get(self, deployment_id: str) -> Deployment:
        """Return a record. Raises NoSuchDeployment."""
        if (found := self.find(deployment_id)) is None:
            raise NoSuchDeployment(deployment_id)
        return found

    def find(self, deployment_id: str | None) -> Deployment | None:
        """Return a record, or None."""
        if deployment_id is None or not is_deployment(deployment_id):
            return None
        return next(iter(self._read(app_of(deployment_id), [deployment_id])), None)

    def history(self, app: str, count: int) -> list[Deployment]:
        """Return an app's last deployments, the newest first."""
        ids = self.connection.zrange(redis_keys.history_key(app), 0, count - 1, desc=True)
        return self._read(app, [_text(raw) for raw in ids])

    def _read(self, app: str, ids: Sequence[str]) -> list[Deployment]:
        """Return the existing records in one round trip."""
        if not ids:
            return []
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hmget(redis_keys.coalesced_key(app), ids)
            for deployment_id in ids:
                pipeline.hget(redis_keys.record_key(deployment_id), redis_keys.RECORD)
            coalesced, *records = pipeline.execute()
        return [found for found in map(decode, ids, records, coalesced) if found is not None]

    def waiting(self, app: str) -> Deployment | None:
        """Return the app's waiting deployment, if its job will run."""
        found = self.find(_text(self.connection.get(redis_keys.waiting_key(app)) or b""))
        if found is None or found.status is not Status.QUEUED or not _job_is_alive(found.id, self.connection):
            return None
        return found

    def waiting_ids(self, apps: Iterable[str]) -> list[str | None]:
        """Return the id of each app's waiting deployment in one round trip."""
        keys = [redis_keys.waiting_key(app) for app in apps]
        found = self.connection.mget(keys) if keys else []
        return [_text(raw) if raw else None for raw in found]

    def request(
        self, request: DeploymentRequest, *, now: datetime | None = None, note: ExtraWrites | None = None
    ) -> RequestResult:
        """Answer a request with a deployment: an earlier one of the same push, the waiting one, or a new one.

        Record and job are written in one transaction. It is retried if the waiting deployment starts meanwhile. `note`
        adds commands that may fail without effect on the request. Raises redis.exceptions.RedisError and Contention.
        """
        at = now or datetime.now(UTC)
        return self._transact(request.app, lambda pipeline: self._request_once(request, at, pipeline, note))

    def _request_once(
        self, request: DeploymentRequest, at: datetime, pipeline: Pipeline, note: ExtraWrites | None
    ) -> RequestResult:
        found = answers.watch_candidates(pipeline, request.app, request.fingerprint)
        waiting, earlier = found.waiting, found.earlier
        if found.retries and request.trigger is Trigger.PUSH:
            request = replace(request, trigger=Trigger.REDELIVERY)
        absorbs = waiting is not None and coalesces(request, waiting) and _job_is_alive(waiting.id, pipeline)
        pipeline.multi()
        if earlier is not None:
            result = RequestResult(earlier.id, Verdict.DUPLICATE)
        elif waiting is not None and absorbs:
            result = RequestResult(waiting.id, Verdict.COALESCED)
            pipeline.hincrby(redis_keys.coalesced_key(request.app), waiting.id, 1)
        else:
            result = RequestResult(self._create(request, waiting, at, pipeline), Verdict.QUEUED)
        if request.fingerprint is not None and earlier is None:
            answer = answers.Answer(result.deployment, found.retries)
            answers.remember(pipeline, request.app, request.fingerprint, answer, self.keep_seconds)
        essential = len(pipeline)
        if earlier is not None:
            answers.hasten_poll(pipeline, request.app)
        if note is not None:
            note(pipeline, result)
        # Redis runs the rest of a transaction also after a note that fails, such as one to a full stream.
        for reply in pipeline.execute(raise_on_error=False)[:essential]:
            if isinstance(reply, Exception):
                raise reply
        return result

    def _create(self, request: DeploymentRequest, waiting: Deployment | None, at: datetime, pipeline: Pipeline) -> str:
        """Write a new deployment with its job in place of the waiting one, and return its id."""
        deployment_id = new_deployment_id(request.app, at)
        if waiting is not None:
            cause = f"the newer request {deployment_id} took its place"
            superseded = advance(waiting, Status.SUPERSEDED, at, superseded_by=deployment_id, cause=cause)
            self._write(superseded, pipeline, was=waiting)
        fields = asdict(request)
        seconds = fields.pop("seconds")
        del fields["fingerprint"]
        self._write(Deployment(id=deployment_id, created_at=at, **fields), pipeline)
        pipeline.zadd(redis_keys.history_key(request.app), {deployment_id: at.timestamp()})
        pipeline.set(redis_keys.waiting_key(request.app), deployment_id)
        self.queue.enqueue_deployment(deployment_id, pipeline, timeout=seconds, keep=self.keep_seconds)
        return deployment_id

    def change(self, deployment_id: str, changed: Callable[[Deployment], Deployment]) -> Deployment:
        """Replace a record with the result of `changed`.

        Raises NoSuchDeployment, IllegalTransition, Contention and redis.exceptions.RedisError.
        """
        return self._transact(deployment_id, lambda pipeline: self._change_once(deployment_id, changed, pipeline))

    def _change_once(
        self, deployment_id: str, changed: Callable[[Deployment], Deployment], pipeline: Pipeline
    ) -> Deployment:
        key = redis_keys.record_key(deployment_id)
        watch(pipeline, key)
        old = decode(deployment_id, pipeline.hget(key, redis_keys.RECORD))
        if old is None:
            raise NoSuchDeployment(deployment_id)
        waiting_key = redis_keys.waiting_key(old.app)
        watch(pipeline, waiting_key)
        is_waiting = pipeline.get(waiting_key) == deployment_id.encode()
        new = changed(old)
        pipeline.multi()
        self._write(new, pipeline, was=old)
        if is_waiting and new.status is not Status.QUEUED:
            pipeline.delete(waiting_key)
        pipeline.execute()
        return new

    def _write(self, deployment: Deployment, pipeline: Pipeline, was: Deployment | None = None) -> None:
        """Write a record, and count its ending once."""
        key = redis_keys.record_key(deployment.id)
        pipeline.hset(key, redis_keys.RECORD, encode(deployment))
        if deployment.ended:
            pipeline.expire(key, self.keep_seconds)
        if deployment.ended and was is not None and not was.ended:
            count_ending(pipeline, deployment)

    def delete_old(self, app: str, *, keep: int, before: datetime) -> list[str]:
        """Delete ended records beyond the newest `keep` or older than `before`, and return their ids."""
        key = redis_keys.history_key(app)
        newest_first: Any = self.connection.zrange(key, 0, -1, desc=True, withscores=True)
        old = [_text(raw) for place, (raw, at) in enumerate(newest_first) if place >= keep or at <= before.timestamp()]
        unfinished = {found.id for found in self._read(app, old) if not found.ended}
        gone = [old_id for old_id in old if old_id not in unfinished]
        if gone:
            self.connection.delete(*map(redis_keys.record_key, gone))
            self.connection.zrem(key, *gone)
            self.connection.hdel(redis_keys.coalesced_key(app), *gone)
        return gone

    def _transact(self, subject: str, attempt: Callable[[Pipeline], Result]) -> Result:
        """Run `attempt` with a transaction, again after each change of a key that it watches. Raises Contention."""
        end = time.monotonic() + self._timeout
        for _ in range(_MAX_TRIES):
            with DeadlineTransaction(self.connection, end) as pipeline, suppress(WatchError):
                return attempt(pipeline)
        raise Contention(f"{subject}: too many writers at once")


def _text(raw: Any) -> str:
    """Return Redis' reply as text."""
    return bytes(raw).decode("utf-8", "replace")


def _job_is_alive(deployment_id: str, connection: Redis | Pipeline) -> bool:
    """Return True if the job of a waiting deployment will run. `rq empty` deletes jobs."""
    raw = connection.hget(rq_keys.job(deployment_id), "status")
    return raw is not None and _text(raw) in _ALIVE_STATUSES
