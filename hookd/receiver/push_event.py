"""What a verified event says: the push that an app waits for, or a reason to ignore it.

The payload is a hint. Nothing of it is run, fetched or opened; its commit is kept only to be shown.
"""

from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hookd.model.app import App
from hookd.model.ids import CommitId, is_zero
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
    """Any event that is a JSON object."""


@dataclass(frozen=True)
class PushDetails:
    """What a push event says of itself, kept only to be shown."""

    repository: str
    ref: str
    commit: str


@dataclass(frozen=True)
class Ignored:
    """An authentic event that asks for nothing."""

    reason: str
    status: str = "ignored"
    seen: PushDetails | None = None


@dataclass(frozen=True)
class Push:
    """The app's branch has moved, the sender says, to the commit that is `seen`."""

    seen: PushDetails


def classify_event(app: App, event: str, payload: bytes) -> Push | Ignored:
    """Decide what an authentic event asks for.

    Raises Refusal (400) for what is not JSON or not shaped like the event.
    """
    if event == "push":
        return _classify_push(app, _parse(_PushPayload, payload))
    _parse(_Json, payload)
    if event == "ping":
        return Ignored("the webhook is set up", status="pong")
    return Ignored(f"the event is {event[:64]!r}, not a push" if event else "the request names no event")


def _classify_push(app: App, push: _PushPayload) -> Push | Ignored:
    seen = PushDetails(push.repository.full_name, push.ref, push.after)
    reason = _ignore_reason(app, push)
    return Push(seen) if reason is None else Ignored(reason, seen=seen)


def _ignore_reason(app: App, push: _PushPayload) -> str | None:
    if push.repository.full_name.casefold() != app.full_name.casefold():
        return f"this is for the repository {app.full_name}"
    if push.ref.startswith("refs/tags/"):
        return f"a tag was pushed; this deploys the branch {app.branch}"
    if push.ref != app.ref:
        return f"another branch was pushed; this deploys {app.branch}"
    if is_zero(push.after):
        return f"the branch {app.branch} was deleted; what is deployed stays"
    if push.before == push.after:
        return "a test delivery: the branch did not move"
    return None


def _parse(model: type[Model], payload: bytes) -> Model:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{where}: {first['msg']}" if where else first["msg"]) from None
