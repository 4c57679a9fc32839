"""Records and views as they stand in Redis: written, and read back with care, for a stranger may have written them."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hookd.contract.deployment import Deployment
from hookd.contract.names import app_of
from hookd.contract.view import AppView


class NoSuchDeployment(LookupError):
    """There is no record of that id, or it cannot be read."""


def text(raw: Any) -> str:
    """Read what Redis returned as text; redis-py's types allow for more than this connection's settings do."""
    return bytes(raw).decode("utf-8", "replace")


def encode(deployment: Deployment) -> bytes:
    """Write a record; a file name that is no UTF-8 may stand in its cause and must not cost it its ending."""
    return json.dumps(deployment.model_dump(mode="json", exclude={"joined"}), ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def decode(deployment_id: str, fields: Mapping[Any, Any]) -> Deployment:
    """Read a record's hash; raises NoSuchDeployment."""
    try:
        record = Deployment.model_validate_json(fields[b"record"])
        if record.id != deployment_id or record.app != app_of(deployment_id):
            raise ValueError("the record of another deployment")
        return record.model_copy(update={"joined": int(fields.get(b"joined", 0))})
    except (KeyError, ValueError) as error:
        raise NoSuchDeployment(deployment_id) from error


def decode_or_none(deployment_id: str, fields: Mapping[Any, Any] | None) -> Deployment | None:
    """Read a record's hash; None when it holds no record."""
    try:
        return decode(deployment_id, fields or {})
    except NoSuchDeployment:
        return None


def decode_view(app: str, raw: Any) -> AppView:
    """Read what the worker last saw of an app; an empty view when that is not there."""
    try:
        view = AppView.model_validate_json(raw) if raw else AppView(app=app)
    except ValidationError:
        return AppView(app=app)
    return view if view.app == app else AppView(app=app)
