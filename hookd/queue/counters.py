"""Counters of each app in Redis, written in the transaction of the counted event.

Values that are not finite, non-negative numbers read as 0, because any writer may have written them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from redis import Redis
from redis.client import Pipeline

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import ENDINGS, Deployment, Status, StepName

# A step with another name in a record counts as `other`.
STEPS: Final = (*(step.value for step in StepName), "other")
DELIVERIES: Final = (Verdict.QUEUED, Verdict.COALESCED, Verdict.DUPLICATE, Verdict.IGNORED, Verdict.FROZEN)
# Counts requests for unknown apps.
NO_APP: Final = "-"


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
    pipeline.hincrby(key, f"ending:{deployment.status}", 1)
    if deployment.status is not Status.SUPERSEDED:
        pipeline.hset(key, "ended", deployment.status.value)
    if deployment.status is Status.SUCCEEDED and deployment.ended_at is not None:
        pipeline.hset(key, "succeeded_at", deployment.ended_at.timestamp())
    if deployment.started_at is not None and deployment.ended_at is not None:
        _add(pipeline, key, "run", (deployment.ended_at - deployment.started_at).total_seconds())
    for step in deployment.steps:
        if step.seconds is not None:
            _add(pipeline, key, f"step:{step.name if step.name in STEPS else 'other'}", step.seconds)


def _add(pipeline: Pipeline, key: str, name: str, seconds: float) -> None:
    """Count one run and its seconds, or 0 seconds if the clock was set back meanwhile."""
    pipeline.hincrby(key, f"{name}:count", 1)
    pipeline.hincrbyfloat(key, f"{name}:seconds", max(0.0, seconds))


def count_delivery(pipeline: Pipeline, app: str, verdict: Verdict, at: datetime) -> None:
    """Count a delivery with a valid signature."""
    key = redis_keys.counts_key(app)
    pipeline.hincrby(key, f"delivery:{verdict}", 1)
    pipeline.hset(key, "delivered_at", at.timestamp())


def count_refused(pipeline: Pipeline, app: str, times: int) -> None:
    """Count refused signatures."""
    pipeline.hincrby(redis_keys.counts_key(app), "refused", times)


def read_counters(connection: Redis, apps: Iterable[str]) -> list[Counters]:
    """Return the counters of apps in one round trip. Raises redis.exceptions.RedisError."""
    with connection.pipeline(transaction=False) as pipeline:
        for app in apps:
            pipeline.hgetall(redis_keys.counts_key(app))
        return [_decode(fields) for fields in pipeline.execute()]


def _decode(fields: Mapping[bytes, bytes]) -> Counters:
    numbers = defaultdict(float, {name.decode("utf-8", "replace"): _number(raw) for name, raw in fields.items()})

    def total(name: str) -> Total:
        return Total(int(numbers[f"{name}:count"]), numbers[f"{name}:seconds"])

    return Counters(
        endings={status: int(numbers[f"ending:{status}"]) for status in sorted(ENDINGS)},
        deliveries={verdict: int(numbers[f"delivery:{verdict}"]) for verdict in DELIVERIES},
        steps={step: total(f"step:{step}") for step in STEPS if numbers[f"step:{step}:count"]},
        runs=total("run"),
        refused=int(numbers["refused"]),
        delivered_at=numbers["delivered_at"] or None,
        succeeded_at=numbers["succeeded_at"] or None,
        ended=next((status for status in ENDINGS if fields.get(b"ended") == status.encode()), None),
    )


def _number(raw: bytes) -> float:
    try:
        number = float(raw)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and number >= 0 else 0.0
