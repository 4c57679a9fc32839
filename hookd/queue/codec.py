"""Deployment records as bytes in Redis, checked when they are read because any writer may have written them."""

import json
from typing import Any, Final

from hookd.model.deployment import Deployment
from hookd.model.ids import app_of

# A record takes a few kilobytes. Parsing takes twenty times the size of the text.
MAX_RECORD_BYTES: Final = 256 * 1024
_CAUSE_LENGTH: Final = 10_000
# The field of the hash.
RECORD: Final = "record"


class NoSuchDeployment(LookupError):
    """The record does not exist or is invalid."""


def decode_text(raw: Any) -> str:
    """Return Redis' reply as text."""
    return bytes(raw).decode("utf-8", "replace")


def encode(deployment: Deployment) -> bytes:
    """Return a record as JSON. A long cause is cut."""
    fields = deployment.model_dump(mode="json", exclude={"coalesced"})
    fields["cause"] = fields["cause"] and fields["cause"][:_CAUSE_LENGTH]
    # A cause may hold a file name that is not UTF-8.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")


def decode(deployment_id: str, raw: Any, coalesced: Any = None) -> Deployment | None:
    """Return a record with its number of coalesced pushes, or None for an invalid one."""
    if raw is None or len(raw) > MAX_RECORD_BYTES:
        return None
    try:
        record = Deployment.model_validate_json(raw).model_copy(update={"coalesced": max(0, int(coalesced or 0))})
        return record if record.id == deployment_id and record.app == app_of(deployment_id) else None
    except ValueError:
        return None
