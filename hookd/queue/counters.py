"""What is counted of an app: a hash of numbers, written together with what is counted, read when a monitor asks.

Whoever writes to Redis may have written anything: what is no number of the kind that is asked for counts as nothing.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis import Redis
from redis.client import Pipeline

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import ENDINGS, Deployment, Status, StepName
from hookd.queue.client import read_replies

# The steps of the worker; the name of any other is a record's own text, and is counted as `other`.
STEPS: Final = (*(step.value for step in StepName), "other")
DELIVERIES: Final = (Verdict.QUEUED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.IGNORED, Verdict.FROZEN)
# Stands for no app, where a request named one that is not there.
NO_APP: Final = "-"
_DELIVERED, _SUCCEEDED, _ENDED, _REFUSED, _RUN = "delivered_at", "succeeded_at", "ended", "refused", "run"


@dataclass(frozen=True)
class Total:
    """How often something was done, and for how many seconds in all."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Counters:
    """The numbers of one app since Redis last lost its data; moments are seconds since 1970.

    `ended` is how the last deployment ended that was not superseded before its start.
    """

    endings: Mapping[Status, int] = field(default_factory=dict)
    deliveries: Mapping[Verdict, int] = field(default_factory=dict)
    steps: Mapping[str, Total] = field(default_factory=dict)
    runs: Total = Total()
    refused: int = 0
    delivered_at: float | None = None
    succeeded_at: float | None = None
    ended: Status | None = None


def count_ending(pipeline: Pipeline, deployment: Deployment) -> None:
    """Add a deployment that has just ended to its app's numbers."""
    key = redis_keys.counts_key(deployment.app)
    pipeline.hincrby(key, _ending(deployment.status), 1)
    if deployment.status is not Status.SUPERSEDED:
        pipeline.hset(key, _ENDED, deployment.status.value)
    if deployment.status is Status.SUCCEEDED and deployment.ended_at is not None:
        pipeline.hset(key, _SUCCEEDED, deployment.ended_at.timestamp())
    if deployment.started_at is not None and deployment.ended_at is not None:
        _add(pipeline, key, _RUN, (deployment.ended_at - deployment.started_at).total_seconds())
    for step in deployment.steps:
        if step.seconds is not None:
            _add(pipeline, key, _step(step.name), step.seconds)


def count_delivery(pipeline: Pipeline, app: str, verdict: Verdict, at: datetime) -> None:
    """Add a delivery whose signature was right to its app's numbers."""
    key = redis_keys.counts_key(app)
    pipeline.hincrby(key, _delivery(verdict), 1)
    pipeline.hset(key, _DELIVERED, at.timestamp())


def count_refused(pipeline: Pipeline, app: str, times: int) -> None:
    """Add refused signatures to an app's numbers."""
    pipeline.hincrby(redis_keys.counts_key(app), _REFUSED, times)


def read_counters(connection: Redis, apps: Iterable[str]) -> list[Counters]:
    """Read the numbers of apps, in one question; raises redis.exceptions.RedisError."""
    with connection.pipeline(transaction=False) as pipeline:
        for app in apps:
            pipeline.hgetall(redis_keys.counts_key(app))
        return [_decode(found or {}) for found in read_replies(pipeline)]


def _add(pipeline: Pipeline, key: str, what: str, seconds: float) -> None:
    """Count something that took a while; no time at all, when a clock was set back meanwhile."""
    pipeline.hincrby(key, f"{what}:count", 1)
    pipeline.hincrbyfloat(key, f"{what}:seconds", max(0.0, seconds))


def _decode(fields: Mapping[bytes, bytes]) -> Counters:
    return Counters(
        endings={status: int(_number(fields, _ending(status))) for status in sorted(ENDINGS)},
        deliveries={verdict: int(_number(fields, _delivery(verdict))) for verdict in DELIVERIES},
        steps={step: _total(fields, _step(step)) for step in STEPS if _number(fields, f"{_step(step)}:count")},
        runs=_total(fields, _RUN),
        refused=int(_number(fields, _REFUSED)),
        delivered_at=_number(fields, _DELIVERED) or None,
        succeeded_at=_number(fields, _SUCCEEDED) or None,
        ended=next((status for status in ENDINGS if fields.get(_ENDED.encode()) == status.encode()), None),
    )


def _total(fields: Mapping[bytes, bytes], what: str) -> Total:
    return Total(int(_number(fields, f"{what}:count")), _number(fields, f"{what}:seconds"))


def _number(fields: Mapping[bytes, bytes], name: str) -> float:
    try:
        number = float(fields.get(name.encode(), 0))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and number >= 0 else 0.0


def _ending(status: Status) -> str:
    return f"ending:{status}"


def _delivery(verdict: Verdict) -> str:
    return f"delivery:{verdict}"


def _step(name: str) -> str:
    return f"step:{name if name in STEPS else 'other'}"
