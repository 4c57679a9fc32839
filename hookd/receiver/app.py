"""The receiver: one route takes pushes, a few show status; everything else is refused.

Order of a push: method → length → raw bytes → signature → content type → event → freeze → dedupe, record, job and the
decision about it in one transaction → 202. Nothing that is not signed is parsed, and nothing that is parsed decides
what runs.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flask import Flask, Response, jsonify, request
from redis.client import Pipeline
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException

from hookd import freezes
from hookd.config import Config
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.decision import Decision
from hookd.model.deployment import Trigger
from hookd.queue import deployments
from hookd.queue.deployments import Contention, DeploymentStore, RequestResult
from hookd.receiver.delivery import Delivery, record_decision
from hookd.receiver.errors import BadSignature, Refusal
from hookd.receiver.push_event import Ignored, Push, classify_event
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.secrets import Keyring
from hookd.receiver.senders import SENDERS
from hookd.receiver.signed_request import Claim, payload_of, signed_body
from hookd.receiver.status_routes import ReadAccess, add_status_routes, status_url

log: Final = logging.getLogger(__name__)

_RETRY_SECONDS: Final = "5"


@dataclass(frozen=True)
class Receiver:
    """Everything that answering a push needs."""

    config: Config
    keyring: Keyring
    records: DeploymentStore
    notebook: RefusalLog


def create_app(receiver: Receiver, readers: ReadAccess, pages: DeploymentStore | None = None) -> Flask:
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
    app = receiver.config.catalogue.get(name)
    sender = SENDERS[app.sender if app else "github"]
    delivery = Delivery.of(app, sender, request.headers, request.environ)
    claim = Claim(name, app, sender, receiver.keyring.of(name))
    try:
        signed = signed_body(request, claim, receiver.config.settings.receiver.max_body)
    except Refusal as refusal:
        _note_refused(receiver, delivery, refusal)
        raise
    try:
        with signed.body:
            verdict = classify_event(signed.app, delivery.event, payload_of(request, signed.body))
    except Refusal as refusal:
        event(log, "push", app=delivery.app, answer=refusal.status, why=refusal.reason)
        _note(receiver, delivery.malformed(refusal))
        raise
    if isinstance(verdict, Ignored):
        return _ignored(receiver, delivery, verdict)
    return _pushed(receiver, signed.app, delivery, verdict)


def _note_refused(receiver: Receiver, delivery: Delivery, refusal: Refusal) -> None:
    """Keep a refusal; a missing or wrong signature is also logged, without a byte of the sender's choosing.

    fail2ban reads that line.
    """
    if isinstance(refusal, BadSignature):
        app = delivery.app or "-"
        event(log, "refused signature", logging.WARNING, app=app, client=delivery.client, check=refusal.check)
    receiver.notebook.add(delivery.refused(refusal), signature=isinstance(refusal, BadSignature))


def _note(receiver: Receiver, decision: Decision) -> None:
    """Keep the decision about what asks for nothing; a Redis that is away changes nothing about the answer."""
    with suppress(RedisError), receiver.records.connection.pipeline() as pipeline:
        record_decision(pipeline, decision)
        pipeline.execute()


def _ignored(receiver: Receiver, delivery: Delivery, verdict: Ignored) -> tuple[Response, int]:
    event(log, "push", app=delivery.app, answer=verdict.status, why=verdict.reason)
    _note(receiver, delivery.ignored(verdict))
    return jsonify(status=verdict.status, reason=verdict.reason), 200


def _pushed(receiver: Receiver, app: App, delivery: Delivery, push: Push) -> tuple[Response, int]:
    freeze = freezes.active_freeze(receiver.config.frozen, app.name, datetime.now(UTC))
    if freeze is not None:
        return _frozen(receiver, delivery.frozen(push, str(freeze)))
    asked = deployments.DeploymentRequest(
        app=app.name,
        trigger=Trigger.PUSH,
        seconds=app.limits.deploy_seconds,
        delivery=delivery.safe_id,
        claimed_commit=push.seen.commit,
    )

    def note(pipeline: Pipeline, answer: RequestResult) -> None:
        record_decision(pipeline, delivery.answered(push, answer))

    return _accepted(receiver, app, receiver.records.request(asked, note=note))


def _frozen(receiver: Receiver, decision: Decision) -> tuple[Response, int]:
    """Record a push and deploy nothing; what cannot be recorded is not said to be.

    A Redis that takes nothing refuses the whole transaction. That only a poisoned key takes no note is logged.
    """
    event(log, "push", app=decision.app, answer=decision.verdict, why=decision.why)
    with receiver.records.connection.pipeline() as pipeline:
        record_decision(pipeline, decision)
        found = pipeline.execute(raise_on_error=False)
    for error in (reply for reply in found if isinstance(reply, Exception)):
        event(log, "decision not kept", logging.ERROR, app=decision.app, why=str(error))
    return jsonify(status=decision.verdict, reason=decision.why), 200


def _accepted(receiver: Receiver, app: App, answer: RequestResult) -> tuple[Response, int]:
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
