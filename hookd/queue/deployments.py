"""Deployments in Redis: asked for, joined, changed under the transition table, listed, forgotten.

A hash holds each record (`record`, JSON); how many pushes joined it is counted apart from it.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, WatchError
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.app_status import AppStatus
from hookd.model.deployment import MANUAL_TRIGGERS, RETRYABLE_ENDINGS, Deployment, Status, Trigger, advance
from hookd.model.ids import app_of, is_deployment, new_deployment_id
from hookd.queue.client import DeadlineTransaction, read_replies, watch
from hookd.queue.codec import (
    RECORD,
    NoSuchDeployment,
    decode,
    decode_app_status,
    decode_or_none,
    decode_text,
    encode,
    read_record,
)
from hookd.queue.counters import count_ending
from hookd.queue.rq_classes import SafeJob, SafeQueue

# Nobody typed these.
_AUTOMATIC_TRIGGERS: Final = frozenset({Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE})


@dataclass(frozen=True)
class DeploymentRequest:
    """What someone asks for; `seconds` is the longest run of the job, `delivery` the sender's own id."""

    app: str
    trigger: Trigger
    seconds: int
    delivery: str | None = None
    claimed_commit: str | None = None
    pinned_commit: str | None = None
    replay_of: str | None = None


def as_redelivery(request: DeploymentRequest) -> DeploymentRequest:
    """Mark a push whose delivery is known and failed: the sender's "redeliver" button."""
    return replace(request, trigger=Trigger.REDELIVERY)


def coalesces(request: DeploymentRequest, waiting: Deployment) -> bool:
    """Tell whether the waiting deployment stands for what is asked: both want the head, and it is at least as forceful.

    Where a person chose another commit, no push takes that choice away: it waits for the person to follow the branch.
    """
    if _has_chosen_commit(waiting):
        return request.trigger in _AUTOMATIC_TRIGGERS
    if _has_chosen_commit(request):
        return False
    return _precedence(request.trigger) <= _precedence(waiting.trigger)


def _has_chosen_commit(asked: DeploymentRequest | Deployment) -> bool:
    return asked.pinned_commit is not None or asked.trigger is Trigger.ROLLBACK


def _precedence(trigger: Trigger) -> int:
    """Rank how much is tried again: nothing for a push, failed builds for a redelivery, everything for a person."""
    if trigger in MANUAL_TRIGGERS:
        return 3
    return {Trigger.UNPIN: 2, Trigger.REDELIVERY: 1}.get(trigger, 0)


__all__ = ["Contention", "DeploymentRequest", "DeploymentStore", "NoSuchDeployment", "RequestResult"]

# Each lost race means that another writer won; the bound is for a Redis gone mad.
_MAX_TRIES: Final = 1000
# Senders send a delivery again within days; each key takes half a kilobyte, and a push costs nothing.
_DELIVERY_SECONDS: Final = 7 * 86_400
_ALIVE_STATUSES: Final = frozenset({JobStatus.QUEUED.value, JobStatus.RATE_LIMITED.value, JobStatus.STARTED.value})


class Contention(Exception):
    """A record changed under our hands again and again."""


@dataclass(frozen=True)
class RequestResult:
    """The deployment that answers a request, and how."""

    deployment: str
    kind: Literal["created", "coalesced", "duplicate"]


# Writes down how a request was answered, in the transaction that answers it.
ExtraWrites = Callable[[Pipeline, RequestResult], None]


class DeploymentStore:
    """All deployments; `keep_seconds` is how long an ended one is remembered, `within` how long a change may take."""

    def __init__(self, connection: Redis, *, keep_seconds: int, timeout_seconds: float = math.inf) -> None:
        self.connection = connection
        self.keep_seconds = keep_seconds
        self._within = timeout_seconds
        self.queue = SafeQueue(connection=connection)
        # RQ would ask in between, on another connection, only to tell Redis 3 from those that came later.
        self.queue.redis_server_version = (7, 0, 0)

    def get(self, deployment_id: str) -> Deployment:
        """Read a record; raises NoSuchDeployment."""
        if (found := self.find(deployment_id)) is None:
            raise NoSuchDeployment(deployment_id)
        return found

    def find(self, deployment_id: str | None) -> Deployment | None:
        """Read a record that may be gone."""
        if deployment_id is None or not is_deployment(deployment_id):
            return None
        return next(iter(self._read(app_of(deployment_id), [deployment_id])), None)

    def history(self, app: str, count: int) -> list[Deployment]:
        """Read the newest deployments of an app, the newest first."""
        ids = [decode_text(raw) for raw in self.connection.zrange(redis_keys.history_key(app), 0, count - 1, desc=True)]
        return self._read(app, ids)

    def _read(self, app: str, ids: Sequence[str]) -> list[Deployment]:
        """Read those of an app's records that are there, in one question."""
        if not ids:
            return []
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.hmget(redis_keys.coalesced_key(app), ids)
            for deployment_id in ids:
                pipeline.hget(redis_keys.record_key(deployment_id), RECORD)
            joined, *records = read_replies(pipeline)
        found = map(decode_or_none, ids, records, joined or [None] * len(ids))
        return [deployment for deployment in found if deployment is not None]

    def waiting(self, app: str) -> Deployment | None:
        """The deployment of an app that waits, if its job will run."""
        found = self.find(decode_text(self.connection.get(redis_keys.waiting_key(app)) or b""))
        if found is None or found.status is not Status.QUEUED or not _job_is_alive(found.id, self.connection):
            return None
        return found

    def request(
        self, request: DeploymentRequest, *, now: datetime | None = None, note: ExtraWrites | None = None
    ) -> RequestResult:
        """Answer a request with a deployment: the one it repeats, the one that waits, or a new one.

        Record and job are written in one transaction, which fails and is tried again when the waiting deployment
        starts meanwhile. `note` adds to that transaction; that a note cannot be written changes nothing.
        Raises redis.exceptions.RedisError, and Contention.
        """
        at = now or datetime.now(UTC)
        for pipeline in self._transactions():
            try:
                return self._request_once(request, at, pipeline, note or _no_extra_writes)
            except WatchError:
                continue
        raise Contention(f"{request.app}: too many writers at once")

    def _request_once(
        self, request: DeploymentRequest, at: datetime, pipeline: Pipeline, note: ExtraWrites
    ) -> RequestResult:
        waiting, earlier = _watch_competitors(request, pipeline)
        if earlier is not None and earlier.status not in RETRYABLE_ENDINGS:
            return _note_duplicate(RequestResult(earlier.id, "duplicate"), pipeline, note)
        if earlier is not None and request.trigger is Trigger.PUSH:
            request = as_redelivery(request)
        will_do = waiting is not None and coalesces(request, waiting) and _job_is_alive(waiting.id, pipeline)
        pipeline.multi()
        if waiting is not None and will_do:
            return self._join(request, waiting, pipeline, note)
        return self._create(request, waiting, at, pipeline, note)

    def _join(
        self, request: DeploymentRequest, waiting: Deployment, pipeline: Pipeline, note: ExtraWrites
    ) -> RequestResult:
        answer = RequestResult(waiting.id, "coalesced")
        self._remember_delivery(request, waiting.id, pipeline)

        def notes() -> None:
            pipeline.hincrby(redis_keys.coalesced_key(request.app), waiting.id, 1)
            note(pipeline, answer)

        _execute(pipeline, notes)
        return answer

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
        answer, superseded = RequestResult(deployment.id, "created"), None
        if waiting is not None:
            cause = f"a newer request, {deployment.id}, took its place"
            superseded = advance(waiting, Status.SUPERSEDED, at, superseded_by=deployment.id, cause=cause)
            self._write(superseded, pipeline)
        self._write(deployment, pipeline)
        pipeline.zadd(redis_keys.history_key(request.app), {deployment.id: at.timestamp()})
        pipeline.set(redis_keys.waiting_key(request.app), deployment.id)
        self._remember_delivery(request, deployment.id, pipeline)
        self.queue.enqueue_deployment(deployment.id, pipeline, timeout=request.seconds, keep=self.keep_seconds)

        def notes() -> None:
            _count(pipeline, waiting, superseded)
            note(pipeline, answer)

        _execute(pipeline, notes)
        return answer

    def _remember_delivery(self, request: DeploymentRequest, deployment_id: str, pipeline: Pipeline) -> None:
        if request.delivery is not None:
            key = redis_keys.delivery_key(request.app, request.delivery)
            pipeline.set(key, deployment_id, ex=min(self.keep_seconds, _DELIVERY_SECONDS))

    def change(self, deployment_id: str, changed: Callable[[Deployment], Deployment]) -> Deployment:
        """Replace a record with what `changed` makes of it.

        Raises NoSuchDeployment, IllegalTransition, Contention and redis.exceptions.RedisError.
        """
        key = redis_keys.record_key(deployment_id)
        for pipeline in self._transactions():
            try:
                watch(pipeline, key)
                old = decode(deployment_id, read_record(pipeline, deployment_id))
                waiting_key = redis_keys.waiting_key(old.app)
                watch(pipeline, waiting_key)
                waits = pipeline.get(waiting_key) == deployment_id.encode()
                new = changed(old)
                pipeline.multi()
                self._write(new, pipeline)
                if waits and new.status is not Status.QUEUED:
                    pipeline.delete(waiting_key)
                _execute(pipeline, partial(_count, pipeline, old, new))
                return new
            except WatchError:
                continue
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
        gone = [item for item in old if self._is_over(item)]
        for deployment_id in gone:
            self.connection.delete(redis_keys.record_key(deployment_id))
            self.connection.zrem(key, deployment_id)
            self.connection.hdel(redis_keys.coalesced_key(app), deployment_id)
        return gone

    def _is_over(self, deployment_id: str) -> bool:
        deployment = self.find(deployment_id)
        return deployment is None or deployment.ended

    def view(self, app: str) -> AppStatus:
        """Read what the worker last saw of an app; an empty view when it never looked."""
        return decode_app_status(app, self.connection.get(redis_keys.app_status_key(app)))

    def views(self, apps: Iterable[str]) -> list[AppStatus]:
        """Read what the worker last saw of some apps, in one question."""
        wanted = list(apps)
        found = self.connection.mget([redis_keys.app_status_key(app) for app in wanted]) if wanted else []
        return [decode_app_status(app, raw) for app, raw in zip(wanted, found, strict=True)]

    def waiting_ids(self, apps: Iterable[str]) -> list[str | None]:
        """Read which deployment of each app waits, if any, in one question."""
        wanted = list(apps)
        found = self.connection.mget([redis_keys.waiting_key(app) for app in wanted]) if wanted else []
        return [decode_text(raw) if raw else None for raw in found]

    def publish(self, view: AppStatus) -> None:
        """Let readers see what the worker saw."""
        self.connection.set(redis_keys.app_status_key(view.app), view.model_dump_json())

    def _transactions(self) -> Iterator[Pipeline]:
        end = time.monotonic() + self._within
        for _ in range(_MAX_TRIES):
            with DeadlineTransaction(self.connection, end) as pipeline:
                yield pipeline


def _execute(pipeline: Pipeline, notes: Callable[[], None]) -> None:
    """Run a transaction with notes at its end; that one of those cannot be written is no reason to fail.

    Redis does the rest of a transaction also when one of its commands meets a key of another kind.
    """
    essential = len(pipeline)
    notes()
    for reply in pipeline.execute(raise_on_error=False)[:essential]:
        if isinstance(reply, Exception):
            raise reply


def _no_extra_writes(pipeline: Pipeline, answer: RequestResult) -> None:
    return None


def _note_duplicate(answer: RequestResult, pipeline: Pipeline, note: ExtraWrites) -> RequestResult:
    """Note a repetition, which changes nothing else."""
    with suppress(RedisError):
        pipeline.unwatch()
        note(pipeline, answer)
        pipeline.execute()
    return answer


def _count(pipeline: Pipeline, old: Deployment | None, new: Deployment | None) -> None:
    """Count a deployment that comes to its ending, once."""
    if old is not None and new is not None and new.ended and not old.ended:
        count_ending(pipeline, new)


def _watch_competitors(request: DeploymentRequest, pipeline: Pipeline) -> tuple[Deployment | None, Deployment | None]:
    """Read the waiting deployment and the one that answered this delivery before, and watch both keys.

    All reads go through the watching connection: a push that took two could find none left on a busy receiver.
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
    """Read the id of a deployment of the app; None for anything else, whose record the receiver may not even read."""
    found = decode_text(raw) if raw else ""
    return found if is_deployment(found) and app_of(found) == app else None


def _job_is_alive(deployment_id: str, connection: Redis | Pipeline) -> bool:
    """Tell whether the job of a waiting deployment will run: `rq empty`, say, takes jobs away without a word."""
    raw = connection.hget(SafeJob.key_for(deployment_id), "status")
    return raw is not None and decode_text(raw) in _ALIVE_STATUSES


def _find(connection: Redis | Pipeline, deployment_id: str | None) -> Deployment | None:
    if deployment_id is None:
        return None
    return decode_or_none(deployment_id, read_record(connection, deployment_id))
