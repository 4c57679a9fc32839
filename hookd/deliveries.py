"""What is kept of a request for people: what it said of itself, what was decided about it, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from redis.client import Pipeline
from werkzeug.datastructures import Headers

from hookd.client import client_of
from hookd.contract.catalogue import App
from hookd.contract.decision import Decision, Verdict, told
from hookd.contract.names import is_delivery
from hookd.pushes import Ignored, Push, Seen
from hookd.refusals import Refusal, Unsigned
from hookd.senders import Sender
from hookd.store.counts import count_delivery
from hookd.store.decisions import note
from hookd.store.records import Answer

# A sender's own are far shorter; whoever sends more is no sender.
_HEADER: Final = 100
_ANSWERED: Final[Mapping[str, tuple[Verdict, str]]] = {
    "created": (Verdict.QUEUED, "a deployment was asked for"),
    "joined": (Verdict.JOINED, "the deployment that waits already will do it"),
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
        return cls(datetime.now(UTC), app.name if app else None, event, delivery, client_of(environ))

    @property
    def safe_id(self) -> str | None:
        """The sender's own id of this delivery, if it may become part of a key in Redis."""
        return self.id if is_delivery(self.id) else None

    def refused(self, refusal: Refusal) -> Decision:
        """That it does not count as signed, and which check failed."""
        why = refusal.told if isinstance(refusal, Unsigned) else f"{refusal.status}, {refusal.reason}"
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

    def answered(self, push: Push, answer: Answer) -> Decision:
        """That it is a push, and which deployment answers it."""
        verdict, why = _ANSWERED[answer.kind]
        return self._decided(verdict, why, push.seen, answer.deployment)

    def _decided(self, verdict: Verdict, why: str, seen: Seen | None = None, deployment: str | None = None) -> Decision:
        return Decision(
            at=self.at,
            app=self.app,
            source="delivery",
            verdict=verdict,
            why=told(why) or verdict,
            event=told(self.event, _HEADER) or None,
            delivery=told(self.id, _HEADER) or None,
            repository=told(seen.repository) or None if seen else None,
            ref=told(seen.ref) or None if seen else None,
            claimed_commit=seen.commit if seen else None,
            deployment=deployment,
        )


def keep(pipeline: Pipeline, decision: Decision) -> None:
    """Add the decision about a signed delivery to a transaction: for people, and for the app's numbers."""
    note(pipeline, decision)
    if decision.app is not None:
        count_delivery(pipeline, decision.app, decision.verdict, decision.at)
