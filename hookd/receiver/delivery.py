"""One delivery: its headers, its event, and the decisions about it that are stored for people.

The payload only tells that a branch has moved. Nothing in it is run, fetched or opened, and its commit is only shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any, Final, Self, TypeVar

from flask import Request
from pydantic import AliasPath, BaseModel, ConfigDict, Field, ValidationError
from redis.client import Pipeline

from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.ids import CommitId
from hookd.model.text import truncate
from hookd.queue.counters import count_delivery
from hookd.queue.deployments import RequestResult
from hookd.queue.published import append_decision
from hookd.receiver.errors import BadSignature, Refusal
from hookd.receiver.signed_request import sender_of

Model = TypeVar("Model", bound=BaseModel)

# The headers of known senders are far shorter.
_MAX_HEADER: Final = 100
_ANSWERS: Final[Mapping[Verdict, str]] = {
    Verdict.QUEUED: "a deployment was requested",
    Verdict.COALESCED: "the waiting deployment includes this push",
    Verdict.DUPLICATE: "this push was answered before",
}


class _Json(BaseModel):
    """Any JSON object."""


class Push(BaseModel):
    """A push event's fields, which are only shown to people."""

    model_config = ConfigDict(strict=True)
    repository: Annotated[
        str, Field(min_length=1, max_length=512, validation_alias=AliasPath("repository", "full_name"))
    ]
    ref: Annotated[str, Field(min_length=1, max_length=1024)]
    before: CommitId
    commit: Annotated[CommitId, Field(validation_alias="after")]


@dataclass(frozen=True)
class Ignored:
    """A signed event that deploys nothing, such as a push to another branch."""

    reason: str
    status: str = "ignored"
    push: Push | None = None


@dataclass(frozen=True)
class Delivery:
    """One HTTP request to the push route. Nothing in it is verified yet."""

    at: datetime
    app: str | None
    event: str
    id: str
    client: str

    @classmethod
    def from_request(cls, app: App | None, request: Request) -> Self:
        host, headers = sender_of(app), request.headers
        event, delivery = headers.get(host.event, ""), headers.get(host.delivery, "")
        return cls(datetime.now(UTC), app.name if app else None, event, delivery, client_address(request.environ))

    def refused(self, refusal: Refusal) -> Decision:
        """Return the decision about a refused request. It names the failed check."""
        why = refusal.detail if isinstance(refusal, BadSignature) else f"{refusal.status}, {refusal.reason}"
        return self.decide(Verdict.REFUSED, why if self.client == "-" else f"{why}, from {self.client}")

    def answered(self, push: Push, result: RequestResult) -> Decision:
        """Return the decision about a push that a deployment answers."""
        return self.decide(result.verdict, _ANSWERS[result.verdict], push, result.deployment)

    def decide(self, verdict: Verdict, why: str, push: Push | None = None, deployment: str | None = None) -> Decision:
        return Decision(
            at=self.at,
            app=self.app,
            source="delivery",
            verdict=verdict,
            why=why,
            event=truncate(self.event, _MAX_HEADER) or None,
            delivery=truncate(self.id, _MAX_HEADER) or None,
            repository=push.repository if push else None,
            ref=push.ref if push else None,
            claimed_commit=push.commit if push else None,
            deployment=deployment,
        )


def record_delivery(pipeline: Pipeline, decision: Decision) -> None:
    """Add the decision about a signed delivery, and its count, to a transaction."""
    append_decision(pipeline, decision)
    if decision.app is not None:
        count_delivery(pipeline, decision.app, decision.verdict, decision.at)


def classify_event(app: App, event: str, payload: bytes) -> Push | Ignored:
    """Parse a signed event.

    Raises Refusal (400) for invalid JSON and for a payload without the event's fields.
    """
    if event == "push":
        push = _parse(Push, payload)
        reason = _ignore_reason(app, push)
        return push if reason is None else Ignored(reason, push=push)
    _parse(_Json, payload)
    if event == "ping":
        return Ignored("the webhook is set up", status="pong")
    return Ignored(f"the event is {event[:64]!r}, not a push" if event else "the request names no event")


def _ignore_reason(app: App, push: Push) -> str | None:
    if push.repository.casefold() != app.full_name.casefold():
        return f"another repository, this app is {app.full_name}"
    if push.ref.startswith("refs/tags/"):
        return f"a tag, this app deploys the branch {app.branch}"
    if push.ref != app.ref:
        return f"another branch, this app deploys {app.branch}"
    if not push.commit.strip("0"):  # git's null object id.
        return f"the branch {app.branch} was deleted, the release stays"
    if push.before == push.commit:
        return "a test delivery, the branch did not move"
    return None


def _parse(model: type[Model], payload: bytes) -> Model:
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{field}: {first['msg']}" if field else first["msg"]) from None


def client_address(environ: Mapping[str, Any]) -> str:
    """Return the client's IP address, or "-".

    On TCP this is the peer, whatever the headers say. A unix socket has no peer address, so nginx appends the client
    to X-Forwarded-For. An app of the same user without hookd's sandbox could connect there and forge that header.
    """
    peer = environ.get("REMOTE_ADDR") or ""
    text = peer or environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    try:
        address = ip_address(text)
    except ValueError:
        return "-"
    if isinstance(address, IPv6Address):
        # The scope after a `%` can be any text, such as a forged rest of a log line.
        return "-" if address.scope_id else str(address.ipv4_mapped or address)
    return str(address)
