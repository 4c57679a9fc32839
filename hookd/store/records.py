"""Deployments in Redis: asked for, joined, changed under the transition table, listed, forgotten.

A hash holds each record (`record`, JSON) beside the one number that receivers change without reading it (`joined`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import WatchError
from rq.job import JobStatus

from hookd.contract import queue as names
from hookd.contract.deployment import BY_HAND, UNDONE, Deployment, Status, Trigger, advance
from hookd.contract.names import app_of, new_deployment_id
from hookd.contract.view import AppView
from hookd.store.jobs import SafeJob, SafeQueue

# Each lost race means that another writer won, so a few tries always suffice; the bound is for a Redis gone mad.
_TRIES: Final = 50
_ALIVE: Final = frozenset({JobStatus.QUEUED.value, JobStatus.RATE_LIMITED.value, JobStatus.STARTED.value})


class Contention(Exception):
    """A record changed under our hands again and again."""


class NoSuchDeployment(LookupError):
    """There is no record of that id, or it cannot be read."""


@dataclass(frozen=True)
class Request:
    """What someone asks for; `seconds` is the longest run of the job, `delivery` the sender's own id."""

    app: str
    trigger: Trigger
    seconds: int
    delivery: str | None = None
    claimed_commit: str | None = None
    pinned_commit: str | None = None
    replay_of: str | None = None


@dataclass(frozen=True)
class Answer:
    """The deployment that answers a request, and how."""

    deployment: str
    kind: Literal["created", "joined", "duplicate"]


class Records:
    """All deployments; `keep_seconds` is how long an ended one is remembered."""

    def __init__(self, connection: Redis, *, keep_seconds: int) -> None:
        self.connection = connection
        self.keep_seconds = keep_seconds
        self.queue = SafeQueue(connection=connection)

    def get(self, deployment_id: str) -> Deployment:
        """Read a record; raises NoSuchDeployment."""
        return _decode(deployment_id, self.connection.hgetall(names.record_key(deployment_id)))

    def find(self, deployment_id: str | None) -> Deployment | None:
        """Read a record that may be gone."""
        return _find(self.connection, deployment_id)

    def history(self, app: str, count: int) -> list[Deployment]:
        """Read the newest deployments of an app, the newest first."""
        ids = self.connection.zrange(names.history_key(app), 0, count - 1, desc=True)
        found = (self.find(_text(raw)) for raw in ids)
        return [deployment for deployment in found if deployment is not None]

    def request(self, request: Request, *, now: datetime | None = None) -> Answer:
        """Answer a request with a deployment: the one it repeats, the one that waits, or a new one.

        Record and job are written in one transaction, which fails and is tried again when the waiting deployment
        starts meanwhile. Raises redis.exceptions.RedisError, and Contention.
        """
        at = now or datetime.now(UTC)
        for pipeline in self._transactions():
            try:
                return self._request_once(request, at, pipeline)
            except WatchError:
                continue
        raise Contention(f"{request.app}: too many writers at once")

    def _request_once(self, request: Request, at: datetime, pipeline: Pipeline) -> Answer:
        waiting, earlier = _watch_rivals(request, pipeline)
        if earlier is not None and earlier.status not in UNDONE:
            return Answer(earlier.id, "duplicate")
        if earlier is not None and request.trigger is Trigger.PUSH:
            request = _again(request)
        joins = waiting is not None and _joins(request, waiting) and _job_is_alive(waiting.id, pipeline)
        pipeline.multi()
        if waiting is not None and joins:
            self._join(request, waiting, pipeline)
            return Answer(waiting.id, "joined")
        return Answer(self._create(request, waiting, at, pipeline), "created")

    def _join(self, request: Request, waiting: Deployment, pipeline: Pipeline) -> None:
        pipeline.hincrby(names.record_key(waiting.id), "joined", 1)
        self._remember_delivery(request, waiting.id, pipeline)
        pipeline.execute()

    def _create(self, request: Request, waiting: Deployment | None, at: datetime, pipeline: Pipeline) -> str:
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
        if waiting is not None:
            cause = f"a newer request, {deployment.id}, took its place"
            self._write(advance(waiting, Status.SUPERSEDED, at, superseded_by=deployment.id, cause=cause), pipeline)
        self._write(deployment, pipeline)
        pipeline.zadd(names.history_key(request.app), {deployment.id: at.timestamp()})
        pipeline.set(names.waiting_key(request.app), deployment.id)
        self._remember_delivery(request, deployment.id, pipeline)
        self.queue.enqueue_deployment(deployment.id, pipeline, timeout=request.seconds, keep=self.keep_seconds)
        pipeline.execute()
        return deployment.id

    def _remember_delivery(self, request: Request, deployment_id: str, pipeline: Pipeline) -> None:
        if request.delivery is not None:
            key = names.delivery_key(request.app, request.delivery)
            pipeline.set(key, deployment_id, ex=self.keep_seconds)

    def change(self, deployment_id: str, changed: Callable[[Deployment], Deployment]) -> Deployment:
        """Replace a record with what `changed` makes of it.

        Raises NoSuchDeployment, IllegalTransition, Contention and redis.exceptions.RedisError.
        """
        key = names.record_key(deployment_id)
        for pipeline in self._transactions():
            try:
                _watch(pipeline, key)
                old = _decode(deployment_id, pipeline.hgetall(key))
                waiting_key = names.waiting_key(old.app)
                _watch(pipeline, waiting_key)
                waits = pipeline.get(waiting_key) == deployment_id.encode()
                new = changed(old)
                pipeline.multi()
                self._write(new, pipeline)
                if waits and new.status is not Status.QUEUED:
                    pipeline.delete(waiting_key)
                pipeline.execute()
                return new
            except WatchError:
                continue
        raise Contention(f"{deployment_id}: too many writers at once")

    def _write(self, deployment: Deployment, pipeline: Pipeline) -> None:
        key = names.record_key(deployment.id)
        pipeline.hset(key, "record", _encode(deployment))
        if deployment.ended:
            pipeline.expire(key, self.keep_seconds)

    def forget_old(self, app: str, *, keep: int, before: datetime) -> list[str]:
        """Delete ended records beyond the newest `keep` or older than `before`, and return their ids."""
        key = names.history_key(app)
        newest_first = [_text(raw) for raw in self.connection.zrange(key, 0, -1, desc=True)]
        aged = {_text(raw) for raw in self.connection.zrangebyscore(key, 0, before.timestamp())}
        old = [item for place, item in enumerate(newest_first) if place >= keep or item in aged]
        gone = [item for item in old if self._is_over(item)]
        for deployment_id in gone:
            self.connection.delete(names.record_key(deployment_id))
            self.connection.zrem(key, deployment_id)
        return gone

    def _is_over(self, deployment_id: str) -> bool:
        deployment = self.find(deployment_id)
        return deployment is None or deployment.ended

    def view(self, app: str) -> AppView:
        """Read what the worker last saw of an app; an empty view when it never looked."""
        raw = self.connection.get(names.app_key(app))
        try:
            return AppView.model_validate_json(raw) if raw else AppView(app=app)
        except ValidationError:
            return AppView(app=app)

    def publish(self, view: AppView) -> None:
        """Let readers see what the worker saw."""
        self.connection.set(names.app_key(view.app), view.model_dump_json())

    def _transactions(self) -> Iterator[Pipeline]:
        for _ in range(_TRIES):
            with self.connection.pipeline() as pipeline:
                yield pipeline


def _again(request: Request) -> Request:
    """Mark a push whose delivery is known and failed: the sender's "redeliver" button."""
    return replace(request, trigger=Trigger.REDELIVERY)


def _joins(request: Request, waiting: Deployment) -> bool:
    """Tell whether the waiting deployment will do what is asked: both want the head, and it is at least as forceful."""
    if request.pinned_commit is not None or waiting.pinned_commit is not None:
        return False
    if Trigger.ROLLBACK in (request.trigger, waiting.trigger):
        return False
    return _force(request.trigger) <= _force(waiting.trigger)


def _force(trigger: Trigger) -> int:
    """Rank how much is tried again: nothing for a push, failed builds for a redelivery, everything for a person."""
    if trigger in BY_HAND:
        return 3
    return {Trigger.UNPIN: 2, Trigger.REDELIVERY: 1}.get(trigger, 0)


def _watch_rivals(request: Request, pipeline: Pipeline) -> tuple[Deployment | None, Deployment | None]:
    """Read the waiting deployment and the one that answered this delivery before, and watch both keys.

    All reads go through the watching connection: a push that took two could find none left on a busy receiver.
    """
    keys = [names.waiting_key(request.app)]
    if request.delivery is not None:
        keys.append(names.delivery_key(request.app, request.delivery))
    _watch(pipeline, *keys)
    ids = [_text(raw) if raw else None for raw in pipeline.mget(keys)]
    waiting = _find(pipeline, ids[0])
    if waiting is not None and waiting.status is not Status.QUEUED:
        waiting = None
    return waiting, _find(pipeline, ids[1]) if len(ids) > 1 else None


def _job_is_alive(deployment_id: str, pipeline: Pipeline) -> bool:
    """Tell whether the job of a waiting deployment will run: `rq empty`, say, takes jobs away without a word."""
    raw = pipeline.hget(SafeJob.key_for(deployment_id), "status")
    return raw is not None and _text(raw) in _ALIVE


def _find(connection: Redis | Pipeline, deployment_id: str | None) -> Deployment | None:
    if deployment_id is None:
        return None
    try:
        return _decode(deployment_id, connection.hgetall(names.record_key(deployment_id)))
    except NoSuchDeployment:
        return None


def _watch(pipeline: Pipeline, *keys: str) -> None:
    pipeline.watch(*keys)  # type: ignore[no-untyped-call]


def _text(raw: Any) -> str:
    """Read what Redis returned as text; redis-py's types allow for more than this connection's settings do."""
    return bytes(raw).decode("utf-8", "replace")


def _encode(deployment: Deployment) -> bytes:
    """Write a record; a file name that is no UTF-8 may stand in its cause and must not cost it its ending."""
    return json.dumps(deployment.model_dump(mode="json", exclude={"joined"}), ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def _decode(deployment_id: str, fields: Mapping[Any, Any]) -> Deployment:
    try:
        record = Deployment.model_validate_json(fields[b"record"])
        if record.id != deployment_id or record.app != app_of(deployment_id):
            raise ValueError("the record of another deployment")
        return record.model_copy(update={"joined": int(fields.get(b"joined", 0))})
    except (KeyError, ValueError) as error:
        raise NoSuchDeployment(deployment_id) from error
