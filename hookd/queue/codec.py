"""Deployment records as bytes in Redis, checked when they are read because any writer may have written them."""

import json
from typing import Any, Final

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from hookd.model import redis_keys
from hookd.model.deployment import Deployment
from hookd.model.ids import app_of

# A record takes a few kilobytes. Parsing takes twenty times the size of the text.
MAX_RECORD_BYTES: Final = 256 * 1024
_CUT_CAUSE_LENGTH: Final = 1000
# The field of the hash.
RECORD: Final = "record"
_MAX_DIGITS: Final = 19


class NoSuchDeployment(LookupError):
    """The record does not exist or is invalid."""


def decode_text(raw: Any) -> str:
    """Return Redis' reply as text."""
    return bytes(raw).decode("utf-8", "replace")


def encode(deployment: Deployment) -> bytes:
    """Return a record as JSON. A record above the size limit loses its steps and most of its cause."""
    raw = _json(deployment)
    if len(raw) <= MAX_RECORD_BYTES:
        return raw
    cause = f"{(deployment.cause or '')[:_CUT_CAUSE_LENGTH]}…"
    return _json(deployment.model_copy(update={"steps": (), "cause": cause}))


def _json(deployment: Deployment) -> bytes:
    text = json.dumps(deployment.model_dump(mode="json", exclude={"coalesced"}), ensure_ascii=False)
    return text.encode("utf-8", "replace")  # A cause may hold a file name that is not UTF-8.


def read_record(connection: Redis | Pipeline, deployment_id: str) -> Any:
    """Read a record's bytes, or None for a key of a wrong type."""
    try:
        return connection.hget(redis_keys.record_key(deployment_id), RECORD)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return None


def decode(deployment_id: str, raw: Any, coalesced: Any = None) -> Deployment:
    """Return a record with its number of coalesced pushes. Raises NoSuchDeployment."""
    try:
        if raw is None or len(raw) > MAX_RECORD_BYTES:
            raise ValueError("no record")
        record = Deployment.model_validate_json(raw)
        if record.id != deployment_id or record.app != app_of(deployment_id):
            raise ValueError("the record of another deployment")
        return record.model_copy(update={"coalesced": _number(coalesced)})
    except ValueError as error:
        raise NoSuchDeployment(deployment_id) from error


def _number(raw: Any) -> int:
    return int(raw) if raw and len(raw) < _MAX_DIGITS and raw.isdigit() else 0


def decode_or_none(deployment_id: str, raw: Any, coalesced: Any = None) -> Deployment | None:
    """Return a record, or None."""
    try:
        return decode(deployment_id, raw, coalesced)
    except NoSuchDeployment:
        return None
