"""The log of decisions in Redis: a bounded stream per app, and one of refused signatures."""

from typing import Any, Final

from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline

from hookd.model import redis_keys
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import MAX_RECORD_BYTES

# One or two days of decisions. For 1000 apps they take 80 MB.
MAX_ENTRIES: Final = 200


def append_decision(connection: Redis | Pipeline, decision: Decision) -> None:
    """Append a decision to its app's stream, or a refusal to the one that only the operator may read.

    Raises redis.exceptions.RedisError.
    """
    is_refusal = decision.verdict is Verdict.REFUSED
    key = redis_keys.REFUSALS if is_refusal else redis_keys.decisions_key(decision.app or "-")
    fields = {"decision": decision.model_dump_json(exclude_none=True)}
    connection.xadd(key, fields, maxlen=MAX_ENTRIES, approximate=False)  # type: ignore[arg-type]


def read_newest(connection: Redis, app: str, count: int) -> list[Decision]:
    """Return an app's last decisions, the newest first. Raises redis.exceptions.RedisError."""
    return _decoded(connection.xrevrange(redis_keys.decisions_key(app), count=count))


def read_refusals(connection: Redis, count: int) -> list[Decision]:
    """Return the last refused signatures, the newest first. Raises redis.exceptions.RedisError."""
    return _decoded(connection.xrevrange(redis_keys.REFUSALS, count=count))


def _decoded(entries: Any) -> list[Decision]:
    """Return the valid entries, because any writer may have written the others."""
    found = []
    for _, fields in entries or ():
        try:
            raw = fields[b"decision"]
            if len(raw) <= MAX_RECORD_BYTES:
                found.append(Decision.model_validate_json(raw))
        except (KeyError, ValidationError):
            continue
    return found
