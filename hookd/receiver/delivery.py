"""What is kept of a request for people: what it said of itself, what was decided about it, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Self

from redis.client import Pipeline
from werkzeug.datastructures import Headers

from hookd.model.app import App
from hookd.model.decision import Decision, Verdict, short_text
from hookd.model.ids import is_delivery
from hookd.model.text import truncate
from hookd.queue.counters import count_delivery
from hookd.queue.decision_log import append_decision
from hookd.queue.deployments import RequestResult
from hookd.receiver.errors import BadSignature, Refusal
from hookd.receiver.push_event import Ignored, Push, PushDetails
from hookd.receiver.senders import Sender

# A sender's own are far shorter; whoever sends more is no sender.
_HEADER: Final = 100
_ANSWERED: Final[Mapping[str, tuple[Verdict, str]]] = {
    "created": (Verdict.QUEUED, "a deployment was asked for"),
    "coalesced": (Verdict.COALESCED, "the deployment that waits already will do it"),
    "duplicate": (Verdict.DUPLICATE, "this delivery was answered before"),
}


@dataclass(frozen=True)
class Delivery:
    """One request of a sender, or of somebody who claims to be one."""

    at: datetime
    app: str | None
    event: str
    id: str
    client: str

    @classmethod
    def of(cls, app: App | None, sender: Sender, headers: Headers, environ: Mapping[str, Any]) -> Self:
        """Read what a request says of itself."""
        event, delivery = headers.get(sender.event, ""), headers.get(sender.delivery, "")
        return cls(datetime.now(UTC), app.name if app else None, event, delivery, client_address(environ))

    @property
    def safe_id(self) -> str | None:
        """The sender's own id of this delivery, if it may become part of a key in Redis."""
        return self.id if is_delivery(self.id) else None

    def refused(self, refusal: Refusal) -> Decision:
        """That it does not count as signed, and which check failed."""
        why = refusal.told if isinstance(refusal, BadSignature) else f"{refusal.status}, {refusal.reason}"
        return self._decided(Verdict.REFUSED, why if self.client == "-" else f"{why}; from {self.client}")

    def malformed(self, refusal: Refusal) -> Decision:
        """That it is signed, and still no event that can be read."""
        return self._decided(Verdict.IGNORED, f"answered {refusal.status}: {refusal.reason}")

    def ignored(self, verdict: Ignored) -> Decision:
        """That it is signed and asks for nothing."""
        return self._decided(Verdict.IGNORED, verdict.reason, verdict.seen)

    def frozen(self, push: Push, why: str) -> Decision:
        """That it is a push to an app that somebody froze."""
        return self._decided(Verdict.FROZEN, why, push.seen)

    def answered(self, push: Push, answer: RequestResult) -> Decision:
        """That it is a push, and which deployment answers it."""
        verdict, why = _ANSWERED[answer.kind]
        return self._decided(verdict, why, push.seen, answer.deployment)

    def _decided(
        self, verdict: Verdict, why: str, seen: PushDetails | None = None, deployment: str | None = None
    ) -> Decision:
        return Decision(
            at=self.at,
            app=self.app,
            source="delivery",
            verdict=verdict,
            why=short_text(why) or verdict,
            event=truncate(self.event, _HEADER) or None,
            delivery=truncate(self.id, _HEADER) or None,
            repository=short_text(seen.repository) or None if seen else None,
            ref=short_text(seen.ref) or None if seen else None,
            claimed_commit=seen.commit if seen else None,
            deployment=deployment,
        )


def record_decision(pipeline: Pipeline, decision: Decision) -> None:
    """Add the decision about a signed delivery to a transaction: for people, and for the app's numbers."""
    append_decision(pipeline, decision)
    if decision.app is not None:
        count_delivery(pipeline, decision.app, decision.verdict, decision.at)


def client_address(environ: Mapping[str, Any]) -> str:
    """Name who sent a request.

    On TCP that is the peer, whatever its headers say. On a unix socket there is no address of a peer, but nginx
    puts the client's last into X-Forwarded-For. (So can whoever else may connect there: an app of the same user that
    runs without hookd's sandbox.)
    """
    peer = environ.get("REMOTE_ADDR") or ""
    said = peer or environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    try:
        address = ip_address(said)
    except ValueError:
        return "-"
    if not isinstance(address, IPv6Address):
        return str(address)
    # What follows a `%` may be any text at all, such as one that looks like the rest of a log line.
    return str(address.ipv4_mapped or address) if address.scope_id is None else "-"
