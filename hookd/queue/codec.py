"""Records and views as they stand in Redis: written, and read back with care, for a stranger may have written them."""

import json
from typing import Any, Final

from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from hookd.model import redis_keys
from hookd.model.app_status import AppStatus
from hookd.model.deployment import Deployment
from hookd.model.ids import app_of

# A deployment's own record takes a few kilobytes. To parse what is far larger takes twenty times its size.
MAX_RECORD_BYTES: Final = 256 * 1024
_CUT_CAUSE_LENGTH: Final = 1000
# The field of its hash.
RECORD: Final = "record"
# Who counts to more was no push.
_MAX_DIGITS: Final = 19


class NoSuchDeployment(LookupError):
    """There is no record of that id, or it cannot be read."""


def decode_text(raw: Any) -> str:
    """Read what Redis returned as text; redis-py's types allow for more than this connection's settings do."""
    return bytes(raw).decode("utf-8", "replace")


def encode(deployment: Deployment) -> bytes:
    """Write a record; one that would be too large to be read back loses its steps, and most of its cause."""
    raw = _json(deployment)
    if len(raw) <= MAX_RECORD_BYTES:
        return raw
    return _json(
        deployment.model_copy(update={"steps": (), "cause": f"{(deployment.cause or '')[:_CUT_CAUSE_LENGTH]}…"})
    )


def _json(deployment: Deployment) -> bytes:
    """A file name that is no UTF-8 may stand in a cause and must not cost the record its ending."""
    return json.dumps(deployment.model_dump(mode="json", exclude={"coalesced"}), ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def read_record(connection: Redis | Pipeline, deployment_id: str) -> Any:
    """Ask for a record, and for nothing beside it; None where the key holds something else than a hash."""
    try:
        return connection.hget(redis_keys.record_key(deployment_id), RECORD)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return None


def decode(deployment_id: str, raw: Any, joined: Any = None) -> Deployment:
    """Read a record, and how many pushes joined it; raises NoSuchDeployment."""
    try:
        if raw is None or len(raw) > MAX_RECORD_BYTES:
            raise ValueError("no record")
        record = Deployment.model_validate_json(raw)
        if record.id != deployment_id or record.app != app_of(deployment_id):
            raise ValueError("the record of another deployment")
        return record.model_copy(update={"coalesced": _number(joined)})
    except ValueError as error:
        raise NoSuchDeployment(deployment_id) from error


def _number(raw: Any) -> int:
    return int(raw) if raw and len(raw) < _MAX_DIGITS and raw.isdigit() else 0


def decode_or_none(deployment_id: str, raw: Any, joined: Any = None) -> Deployment | None:
    """Read a record; None when there is none."""
    try:
        return decode(deployment_id, raw, joined)
    except NoSuchDeployment:
        return None


def decode_app_status(app: str, raw: Any) -> AppStatus:
    """Read what the worker last saw of an app; an empty view when that is not there."""
    try:
        view = AppStatus.model_validate_json(raw) if raw else AppStatus(app=app)
    except ValidationError:
        return AppStatus(app=app)
    return view if view.app == app else AppStatus(app=app)
