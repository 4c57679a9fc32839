"""Counters of each app in Redis, written in the transaction of the counted event.

Values that are not finite, non-negative numbers read as 0, because any writer may have written them.
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

# A step with another name in a record counts as `other`.
STEPS: Final = (*(step.value for step in StepName), "other")
DELIVERIES: Final = (Verdict.QUEUED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.IGNORED, Verdict.FROZEN)
# Counts requests for unknown apps.
NO_APP: Final = "-"
_DELIVERED, _SUCCEEDED, _ENDED, _REFUSED, _RUN = "delivered_at", "succeeded_at", "ended", "refused", "run"


@dataclass(frozen=True)
class Total:
    """The number of runs and their seconds in all."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Counters:
    """The counters of one app since Redis last lost its data. Times are seconds since 1970.

    `ended` is the last ending other than superseded.
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
    """Count an ended deployment."""
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
    """Count a delivery with a valid signature."""
    key = redis_keys.counts_key(app)
    pipeline.hincrby(key, _delivery(verdict), 1)
    pipeline.hset(key, _DELIVERED, at.timestamp())


def count_refused(pipeline: Pipeline, app: str, times: int) -> None:
    """Count refused signatures."""
    pipeline.hincrby(redis_keys.counts_key(app), _REFUSED, times)


def read_counters(connection: Redis, apps: Iterable[str]) -> list[Counters]:
    """Return the counters of apps in one round trip. Raises redis.exceptions.RedisError."""
    with connection.pipeline(transaction=False) as pipeline:
        for app in apps:
            pipeline.hgetall(redis_keys.counts_key(app))
        return [_decode(found or {}) for found in read_replies(pipeline)]


def _add(pipeline: Pipeline, key: str, name: str, seconds: float) -> None:
    """Count one run and its seconds, or 0 seconds if the clock was set back meanwhile."""
    pipeline.hincrby(key, f"{name}:count", 1)
    pipeline.hincrbyfloat(key, f"{name}:seconds", max(0.0, seconds))


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


def _total(fields: Mapping[bytes, bytes], name: str) -> Total:
    return Total(int(_number(fields, f"{name}:count")), _number(fields, f"{name}:seconds"))


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
