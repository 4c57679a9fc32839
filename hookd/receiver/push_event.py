"""Verified events: a push to the app's branch, or a reason to ignore the event.

The payload is a hint. Nothing in it is run, fetched or opened, and its commit is only shown.
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hookd.model.app import App
from hookd.model.ids import CommitId
from hookd.receiver.errors import Refusal

Model = TypeVar("Model", bound=BaseModel)


class _Repository(BaseModel):
    model_config = ConfigDict(strict=True)
    full_name: Annotated[str, Field(min_length=1, max_length=512)]


class _PushPayload(BaseModel):
    model_config = ConfigDict(strict=True)
    ref: Annotated[str, Field(min_length=1, max_length=1024)]
    before: CommitId
    after: CommitId
    repository: _Repository


class _Json(BaseModel):
    """Any JSON object."""


@dataclass(frozen=True)
class Push:
    """A push event's fields, which are only shown to people."""

    repository: str
    ref: str
    commit: str


@dataclass(frozen=True)
class Ignored:
    """A signed event that deploys nothing, such as a push to another branch."""

    reason: str
    status: str = "ignored"
    push: Push | None = None


def classify_event(app: App, event: str, payload: bytes) -> Push | Ignored:
    """Parse a signed event.

    Raises Refusal (400) for invalid JSON and for a payload without the event's fields.
    """
    if event == "push":
        return _classify_push(app, _parse(_PushPayload, payload))
    _parse(_Json, payload)
    if event == "ping":
        return Ignored("the webhook is set up", status="pong")
    return Ignored(f"the event is {event[:64]!r}, not a push" if event else "the request names no event")


def _classify_push(app: App, payload: _PushPayload) -> Push | Ignored:
    push = Push(payload.repository.full_name, payload.ref, payload.after)
    reason = _ignore_reason(app, payload)
    return push if reason is None else Ignored(reason, push=push)


def _ignore_reason(app: App, push: _PushPayload) -> str | None:
    if push.repository.full_name.casefold() != app.full_name.casefold():
        return f"another repository, this app is {app.full_name}"
    if push.ref.startswith("refs/tags/"):
        return f"a tag, this app deploys the branch {app.branch}"
    if push.ref != app.ref:
        return f"another branch, this app deploys {app.branch}"
    if not push.after.strip("0"):  # git's null object id.
        return f"the branch {app.branch} was deleted, the release stays"
    if push.before == push.after:
        return "a test delivery, the branch did not move"
    return None


def _parse(model: type[Model], payload: bytes) -> Model:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{field}: {first['msg']}" if field else first["msg"]) from None
