"""The receiver: one route takes pushes, a few show status; everything else is refused.

Order of a push: method → length → raw bytes → signature → content type → event → dedupe, record and job in one
transaction → 202. Nothing that is not signed is parsed, and nothing that is parsed decides what runs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final

from flask import Flask, Request, Response, jsonify, request
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException

from hookd import body
from hookd.client import client_of
from hookd.contract.catalogue import App
from hookd.contract.deployment import Trigger
from hookd.contract.names import is_delivery
from hookd.pushes import Ignored, Push, judge
from hookd.refusals import Refusal, unsigned
from hookd.secrets import Keyring
from hookd.senders import SENDERS, Sender
from hookd.signatures import Verifier
from hookd.status import Readers, add_status_routes, status_url
from hookd.store import records
from hookd.store.config import Config
from hookd.store.eventlog import event
from hookd.store.records import Answer, Contention, Records

log: Final = logging.getLogger(__name__)

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
_RETRY_SECONDS: Final = "5"


@dataclass(frozen=True)
class Receiver:
    """Everything that answering a push needs."""

    config: Config
    keyring: Keyring
    records: Records


def create_app(receiver: Receiver, readers: Readers, pages: Records | None = None) -> Flask:
    """Build the WSGI application; `pages` reads for the status pages, with rights that suffice for no more."""
    app = Flask("hookd", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # A path that is not quite right is not found, rather than redirected.
    app.add_url_rule(
        "/hooks/<name>",
        "hook",
        lambda name: take_push(receiver, name),
        methods=["POST"],
        provide_automatic_options=False,
    )
    add_status_routes(app, receiver.config, pages or receiver.records, readers)
    _add_refusals(app)
    return app


def take_push(receiver: Receiver, name: str) -> tuple[Response, int]:
    """Answer `POST /hooks/<app>`; raises Refusal, RedisError and Contention."""
    length = _length(request, receiver.config.settings.receiver.max_body)
    app = receiver.config.catalogue.get(name)
    sender = SENDERS[app.sender if app else "github"]
    payload = _signed_payload(receiver, name, sender, length)
    if app is None:
        raise _refused(receiver, name)
    verdict = judge(app, request.headers.get(sender.event, ""), payload)
    if isinstance(verdict, Ignored):
        event(log, "push", app=app.name, answer=verdict.status, why=verdict.reason)
        return jsonify(status=verdict.status, reason=verdict.reason), 200
    return _accepted(receiver, app, _store(receiver, app, sender, verdict))


def _length(request: Request, most: int) -> int:
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(411, "a Content-Length is required")
    if length > most:
        raise Refusal(413, f"a body has at most {most} bytes")
    return length


def _signed_payload(receiver: Receiver, name: str, sender: Sender, length: int) -> bytes:
    """Take in the body and return its JSON once the signature is right."""
    kind = request.mimetype
    verifier = Verifier(receiver.keyring.of(name))
    signs_value = kind == FORM and sender.signs_form_value
    each: Callable[[bytes], None] = _nothing if signs_value else verifier.update
    with body.receive(request.environ["wsgi.input"], length, each, body.socket_of(request.environ)) as raw:
        digest = sender.digest(request.headers)
        fits = digest is not None and (not signs_value or _takes_form(raw, verifier))
        if not fits or not verifier.accepts(digest):
            raise _refused(receiver, name)
        if kind == JSON:
            return raw.read()
        if kind == FORM:
            return body.form_value(raw)
        raise Refusal(415, f"the content type is {JSON} or {FORM}")


def _takes_form(raw: IO[bytes], verifier: Verifier) -> bool:
    """Feed the verifier what Gitea and its kin sign; a form they cannot have sent fails like a wrong signature."""
    try:
        for piece in body.form_pieces(raw):
            verifier.update(piece)
    except Refusal:
        return False
    return True


def _refused(receiver: Receiver, name: str) -> Refusal:
    """Log a signature that is missing or wrong in one line, for fail2ban, without a byte of the sender's choosing."""
    app = receiver.config.catalogue.get(name)
    event(log, "refused signature", logging.WARNING, app=app.name if app else "-", client=client_of(request.environ))
    return unsigned()


def _nothing(_: bytes) -> None:
    return None


def _store(receiver: Receiver, app: App, sender: Sender, push: Push) -> Answer:
    delivery = request.headers.get(sender.delivery, "")
    return receiver.records.request(
        records.Request(
            app=app.name,
            trigger=Trigger.PUSH,
            seconds=app.limits.deploy_seconds,
            delivery=delivery if is_delivery(delivery) else None,
            claimed_commit=push.claimed_commit,
        )
    )


def _accepted(receiver: Receiver, app: App, answer: Answer) -> tuple[Response, int]:
    event(log, "push", app=app.name, answer=answer.kind, deployment=answer.deployment)
    content = {
        "status": "queued" if answer.kind == "created" else answer.kind,
        "deployment": answer.deployment,
        "status_url": status_url(receiver.config, answer.deployment),
    }
    return jsonify(content), 200 if answer.kind == "duplicate" else 202


def _add_refusals(app: Flask) -> None:
    """Turn every exception into a JSON answer; none says more than the caller may know."""

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> tuple[Response, int]:
        return jsonify(error=error.reason), error.status

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> tuple[Response, int, Any]:
        headers = [(name, value) for name, value in error.get_headers() if name == "Allow"]
        return jsonify(error=error.name.lower()), error.code or 500, headers

    @app.errorhandler(RedisError)
    @app.errorhandler(Contention)
    def busy(error: Exception) -> tuple[Response, int, dict[str, str]]:
        event(log, "queue unreachable", logging.ERROR, why=str(error))
        return jsonify(error="the queue cannot be reached; try again"), 503, {"Retry-After": _RETRY_SECONDS}

    @app.errorhandler(Exception)
    def broken(error: Exception) -> tuple[Response, int]:
        event(log, "unexpected", logging.ERROR, trace=True, error=type(error).__name__)
        return jsonify(error="hookd failed; the operator's log says why"), 500
