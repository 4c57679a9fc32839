"""One delivery and the decisions about it, as they are stored for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Self

from redis.client import Pipeline
from werkzeug.datastructures import Headers

from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.ids import is_delivery
from hookd.model.text import truncate
from hookd.queue.counters import count_delivery
from hookd.queue.decision_log import append_decision
from hookd.queue.deployments import RequestResult
from hookd.receiver.errors import BadSignature, Refusal
from hookd.receiver.push_event import Push
from hookd.receiver.senders import Sender

# The headers of known senders are far shorter.
_MAX_HEADER: Final = 100
_VERDICTS: Final[Mapping[str, tuple[Verdict, str]]] = {
    "created": (Verdict.QUEUED, "a deployment was requested"),
    "coalesced": (Verdict.COALESCED, "the waiting deployment includes this push"),
    "duplicate": (Verdict.DUPLICATE, "this delivery was answered before"),
}


@dataclass(frozen=True)
class Delivery:
    """One HTTP request to the push route. Nothing in it is verified yet."""

    at: datetime
    app: str | None
    event: str
    id: str
    client: str

    @classmethod
    def from_request(cls, app: App | None, sender: Sender, headers: Headers, environ: Mapping[str, Any]) -> Self:
        event, delivery = headers.get(sender.event, ""), headers.get(sender.delivery, "")
        return cls(datetime.now(UTC), app.name if app else None, event, delivery, client_address(environ))

    @property
    def safe_id(self) -> str | None:
        """The sender's id of this delivery, if it is safe as part of a Redis key."""
        return self.id if is_delivery(self.id) else None

    def refused(self, refusal: Refusal) -> Decision:
        """Return the decision about a refused request. It names the failed check."""
        why = refusal.detail if isinstance(refusal, BadSignature) else f"{refusal.status}, {refusal.reason}"
        return self.decide(Verdict.REFUSED, why if self.client == "-" else f"{why}, from {self.client}")

    def answered(self, push: Push, result: RequestResult) -> Decision:
        """Return the decision about a push that a deployment answers."""
        verdict, why = _VERDICTS[result.kind]
        return self.decide(verdict, why, push, result.deployment)

    def decide(self, verdict: Verdict, why: str, push: Push | None = None, deployment: str | None = None) -> Decision:
        return Decision(
            at=self.at,
            app=self.app,
            source="delivery",
            verdict=verdict,
            why=why or verdict,
            event=truncate(self.event, _MAX_HEADER) or None,
            delivery=truncate(self.id, _MAX_HEADER) or None,
            repository=push.repository or None if push else None,
            ref=push.ref or None if push else None,
            claimed_commit=push.commit if push else None,
            deployment=deployment,
        )


def record_decision(pipeline: Pipeline, decision: Decision) -> None:
    """Add the decision about a signed delivery, and its count, to a transaction."""
    append_decision(pipeline, decision)
    if decision.app is not None:
        count_delivery(pipeline, decision.app, decision.verdict, decision.at)


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
    if not isinstance(address, IPv6Address):
        return str(address)
    # The scope after a `%` can be any text, such as a forged rest of a log line.
    return str(address.ipv4_mapped or address) if address.scope_id is None else "-"
