"""Deployments in Redis: requested, coalesced, changed by the transition table, listed, deleted.

A hash holds each record as JSON. The number of coalesced pushes is counted apart from it.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, Literal

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, WatchError

from hookd.model import redis_keys
from hookd.model.deployment import MANUAL_TRIGGERS, RETRYABLE_ENDINGS, Deployment, Status, Trigger, advance
from hookd.model.ids import app_of, is_deployment, new_deployment_id
from hookd.queue.client import DeadlineTransaction, read_replies, watch
from hookd.queue.codec import RECORD, NoSuchDeployment, decode, decode_or_none, decode_text, encode, read_record
from hookd.queue.counters import count_ending

if TYPE_CHECKING:
    from hookd.queue.rq_classes import SafeQueue

__all__ = ["Contention", "DeploymentRequest", "DeploymentStore", "NoSuchDeployment", "RequestResult"]

_AUTOMATIC_TRIGGERS: Final = frozenset({Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE})
# Higher numbers retry more: a redelivery retries failed builds, a manual trigger retries everything.
_PRECEDENCE: Final = {Trigger.REDELIVERY: 1, Trigger.UNPIN: 2, **dict.fromkeys(MANUAL_TRIGGERS, 3)}
# Each try fails only if another writer succeeded. The bound is for a broken Redis.
_MAX_TRIES: Final = 1000
# Senders redeliver within days. Each key takes half a kilobyte.
_DELIVERY_SECONDS: Final = 7 * 86_400
# RQ's names of the statuses of a job that will run or runs.
_ALIVE_STATUSES: Final = frozenset({"queued", "rate_limited", "started"})


class Contention(Exception):
    """Other writers changed the record in every try."""


@dataclass(frozen=True)
class DeploymentRequest:
    """A request for a deployment. `seconds` is the job's longest run, `delivery` the sender's own id."""

    app: str
    trigger: Trigger
    seconds: int
    delivery: str | None = None
    claimed_commit: str | None = None
    pinned_commit: str | None = None
    replay_of: str | None = None


@dataclass(frozen=True)
class RequestResult:
    """The deployment that answers a request."""

    deployment: str
    kind: Literal["created", "coalesced", "duplicate"]


# Adds commands to the transaction that answers a request.
ExtraWrites = Callable[[Pipeline, RequestResult], None]


def coalesces(request: DeploymentRequest, waiting: Deployment) -> bool:
    """Return True if the waiting deployment also serves the request: both want the head, and it retries as much.

    A waiting deployment of a chosen commit absorbs every automatic request, because a push must not undo a person's
    choice.
    """
    if _has_chosen_commit(waiting):
        return request.trigger in _AUTOMATIC_TRIGGERS
    if _has_chosen_commit(request):
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
        return self._read(app, [decode_text(raw) for raw in ids])

    def _read(self, app: str, ids: Sequence[str]) -> list[Deployment]:
        """Return the existing records in one round trip."""
        if not ids:
            return []
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hmget(redis_keys.coalesced_key(app), ids)
            for deployment_id in ids:
                pipeline.hget(redis_keys.record_key(deployment_id), RECORD)
            coalesced, *records = read_replies(pipeline)
        found = map(decode_or_none, ids, records, coalesced or [None] * len(ids))
        return [deployment for deployment in found if deployment is not None]

    def waiting(self, app: str) -> Deployment | None:
        """Return the app's waiting deployment, if its job will run."""
        found = self.find(decode_text(self.connection.get(redis_keys.waiting_key(app)) or b""))
        if found is None or found.status is not Status.QUEUED or not _job_is_alive(found.id, self.connection):
            return None
        return found

    def waiting_ids(self, apps: Iterable[str]) -> list[str | None]:
        """Return the id of each app's waiting deployment in one round trip."""
        keys = [redis_keys.waiting_key(app) for app in apps]
        found = self.connection.mget(keys) if keys else []
        return [decode_text(raw) if raw else None for raw in found]

    def request(
        self, request: DeploymentRequest, *, now: datetime | None = None, note: ExtraWrites | None = None
    ) -> RequestResult:
        """Answer a request with a deployment: an earlier one of the same delivery, the waiting one, or a new one.

        Record and job are written in one transaction. It is retried if the waiting deployment starts meanwhile. `note`
        adds commands that may fail without effect on the request. Raises redis.exceptions.RedisError and Contention.
        """
        at = now or datetime.now(UTC)
        for pipeline in self._transactions():
            with suppress(WatchError):
                return self._request_once(request, at, pipeline, note or _no_extra_writes)
        raise Contention(f"{request.app}: too many writers at once")

    def _request_once(
        self, request: DeploymentRequest, at: datetime, pipeline: Pipeline, note: ExtraWrites
    ) -> RequestResult:
        waiting, earlier = _watch_competitors(request, pipeline)
        if earlier is not None and earlier.status not in RETRYABLE_ENDINGS:
            return _note_duplicate(RequestResult(earlier.id, "duplicate"), pipeline, note)
        if earlier is not None and request.trigger is Trigger.PUSH:
            request = replace(request, trigger=Trigger.REDELIVERY)
        absorbed = waiting is not None and coalesces(request, waiting) and _job_is_alive(waiting.id, pipeline)
        pipeline.multi()
        if waiting is not None and absorbed:
            return self._coalesce(request, waiting, pipeline, note)
        return self._create(request, waiting, at, pipeline, note)

    def _coalesce(
        self, request: DeploymentRequest, waiting: Deployment, pipeline: Pipeline, note: ExtraWrites
    ) -> RequestResult:
        result = RequestResult(waiting.id, "coalesced")
        self._remember_delivery(request, waiting.id, pipeline)

        def notes() -> None:
            pipeline.hincrby(redis_keys.coalesced_key(request.app), waiting.id, 1)
            note(pipeline, result)

        _execute(pipeline, notes)
        return result

    def _create(
        self,
        request: DeploymentRequest,
        waiting: Deployment | None,
        at: datetime,
        pipeline: Pipeline,
        note: ExtraWrites,
    ) -> RequestResult:
        deployment = Deployment(
            id=new_deployment_id(request.app, at),
            app=request.app,
            trigger=request.trigger,
            created_at=at,
            delivery=request.delivery,
            claimed_commit=request.claimed_commit,
            pinned_commit=request.pinned_commit,
            replay_of=request.replay_of,
        )
        result, superseded = RequestResult(deployment.id, "created"), None
        if waiting is not None:
            cause = f"the newer request {deployment.id} took its place"
            superseded = advance(waiting, Status.SUPERSEDED, at, superseded_by=deployment.id, cause=cause)
            self._write(superseded, pipeline)
        self._write(deployment, pipeline)
        pipeline.zadd(redis_keys.history_key(request.app), {deployment.id: at.timestamp()})
        pipeline.set(redis_keys.waiting_key(request.app), deployment.id)
        self._remember_delivery(request, deployment.id, pipeline)
        self.queue.enqueue_deployment(deployment.id, pipeline, timeout=request.seconds, keep=self.keep_seconds)

        def notes() -> None:
            _count(pipeline, waiting, superseded)
            note(pipeline, result)

        _execute(pipeline, notes)
        return result

    def _remember_delivery(self, request: DeploymentRequest, deployment_id: str, pipeline: Pipeline) -> None:
        if request.delivery is not None:
            key = redis_keys.delivery_key(request.app, request.delivery)
            pipeline.set(key, deployment_id, ex=min(self.keep_seconds, _DELIVERY_SECONDS))

    def change(self, deployment_id: str, changed: Callable[[Deployment], Deployment]) -> Deployment:
        """Replace a record with the result of `changed`.

        Raises NoSuchDeployment, IllegalTransition, Contention and redis.exceptions.RedisError.
        """
        key = redis_keys.record_key(deployment_id)
        for pipeline in self._transactions():
            with suppress(WatchError):
                watch(pipeline, key)
                old = decode(deployment_id, read_record(pipeline, deployment_id))
                waiting_key = redis_keys.waiting_key(old.app)
                watch(pipeline, waiting_key)
                is_waiting = pipeline.get(waiting_key) == deployment_id.encode()
                new = changed(old)
                pipeline.multi()
                self._write(new, pipeline)
                if is_waiting and new.status is not Status.QUEUED:
                    pipeline.delete(waiting_key)
                _execute(pipeline, partial(_count, pipeline, old, new))
                return new
        raise Contention(f"{deployment_id}: too many writers at once")

    def _write(self, deployment: Deployment, pipeline: Pipeline) -> None:
        key = redis_keys.record_key(deployment.id)
        pipeline.hset(key, RECORD, encode(deployment))
        if deployment.ended:
            pipeline.expire(key, self.keep_seconds)

    def delete_old(self, app: str, *, keep: int, before: datetime) -> list[str]:
        """Delete ended records beyond the newest `keep` or older than `before`, and return their ids."""
        key = redis_keys.history_key(app)
        newest_first = [decode_text(raw) for raw in self.connection.zrange(key, 0, -1, desc=True)]
        aged = {decode_text(raw) for raw in self.connection.zrangebyscore(key, 0, before.timestamp())}
        old = [item for place, item in enumerate(newest_first) if place >= keep or item in aged]
        gone = [item for item in old if self._has_ended(item)]
        for deployment_id in gone:
            self.connection.delete(redis_keys.record_key(deployment_id))
            self.connection.zrem(key, deployment_id)
            self.connection.hdel(redis_keys.coalesced_key(app), deployment_id)
        return gone

    def _has_ended(self, deployment_id: str) -> bool:
        deployment = self.find(deployment_id)
        return deployment is None or deployment.ended

    def _transactions(self) -> Iterator[Pipeline]:
        end = time.monotonic() + self._timeout
        for _ in range(_MAX_TRIES):
            with DeadlineTransaction(self.connection, end) as pipeline:
                yield pipeline


def _execute(pipeline: Pipeline, notes: Callable[[], None]) -> None:
    """Run a transaction with notes at its end, which may fail without effect on the rest.

    Redis runs the rest of a transaction also after a command that met a key of a wrong type.
    """
    essential = len(pipeline)
    notes()
    for reply in pipeline.execute(raise_on_error=False)[:essential]:
        if isinstance(reply, Exception):
            raise reply


def _no_extra_writes(pipeline: Pipeline, result: RequestResult) -> None:
    return None


def _note_duplicate(result: RequestResult, pipeline: Pipeline, note: ExtraWrites) -> RequestResult:
    with suppress(RedisError):
        pipeline.unwatch()
        note(pipeline, result)
        pipeline.execute()
    return result


def _count(pipeline: Pipeline, old: Deployment | None, new: Deployment | None) -> None:
    """Count a deployment once, at its ending."""
    if old is not None and new is not None and new.ended and not old.ended:
        count_ending(pipeline, new)


def _watch_competitors(request: DeploymentRequest, pipeline: Pipeline) -> tuple[Deployment | None, Deployment | None]:
    """Watch and return the waiting deployment, and the earlier deployment of the same delivery.

    All reads use the watching connection, because a busy receiver may have no second connection left.
    """
    keys = [redis_keys.waiting_key(request.app)]
    if request.delivery is not None:
        keys.append(redis_keys.delivery_key(request.app, request.delivery))
    watch(pipeline, *keys)
    ids = [_own_id(request.app, raw) for raw in pipeline.mget(keys)]
    waiting = _find(pipeline, ids[0])
    if waiting is not None and waiting.status is not Status.QUEUED:
        waiting = None
    return waiting, _find(pipeline, ids[1]) if len(ids) > 1 else None


def _own_id(app: str, raw: Any) -> str | None:
    """Return the id of one of the app's deployments. The receiver may read no other record."""
    found = decode_text(raw) if raw else ""
    return found if is_deployment(found) and app_of(found) == app else None


def _job_is_alive(deployment_id: str, connection: Redis | Pipeline) -> bool:
    """Return True if the job of a waiting deployment will run. `rq empty` deletes jobs."""
    raw = connection.hget(f"rq:job:{deployment_id}", "status")
    return raw is not None and decode_text(raw) in _ALIVE_STATUSES


def _find(connection: Redis | Pipeline, deployment_id: str | None) -> Deployment | None:
    if deployment_id is None:
        return None
    return decode_or_none(deployment_id, read_record(connection, deployment_id))
