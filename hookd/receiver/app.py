"""The receiver's application: one route accepts pushes, the others show status.

Order of a push: method, length, raw bytes, signature, content type, event, freeze. One transaction then stores the
record, the job and the decision, and the answer is 202. Unsigned bytes are never parsed, and no payload decides which
code runs.
"""

import hashlib
import logging
from collections.abc import Mapping
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
from hookd.credentials import Secret
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import Trigger
from hookd.model.ids import is_delivery
from hookd.queue.deployments import Contention, DeploymentRequest, DeploymentStore, RequestResult
from hookd.receiver.delivery import Delivery, Ignored, Push, classify_event, record_delivery
from hookd.receiver.errors import BadSignature, Refusal
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.signed_request import payload_of, signed_body
from hookd.receiver.status_routes import ReadAccess, add_status_routes

log: Final = logging.getLogger(__name__)

_RETRY_SECONDS: Final = "5"


@dataclass(frozen=True)
class Receiver:
    """The parts that the push route uses. `secrets` holds the active ones of each app."""

    config: Config
    secrets: Mapping[str, tuple[Secret, ...]]
    store: DeploymentStore
    refusal_log: RefusalLog


def create_app(receiver: Receiver, access: ReadAccess, read_store: DeploymentStore) -> Flask:
    """Build the WSGI application. `read_store` may only read, for the status routes."""
    app = Flask("hookd", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # A path with a doubled slash is not found, not redirected.
    app.add_url_rule(
        "/hooks/<name>",
        "hook",
        lambda name: receive_push(receiver, name),
        methods=["POST"],
        provide_automatic_options=False,
    )
    add_status_routes(app, receiver.config, read_store, access)
    _add_error_handlers(app)
    return app


def receive_push(receiver: Receiver, name: str) -> tuple[Response, int]:
    """Answer `POST /hooks/<app>`. Raises Refusal, RedisError and Contention."""
    config, known = receiver.config, receiver.config.catalogue.get(name)
    delivery = Delivery.from_request(known, request)
    try:
        secrets = receiver.secrets.get(name, ())
        app, body = signed_body(request, name, known, secrets, config.settings.receiver.max_body)
    except Refusal as refusal:
        _note_refusal(receiver, delivery, refusal)
        raise
    try:
        with body:
            payload = payload_of(request, body)
        outcome = classify_event(app, delivery.event, payload)
    except Refusal as refusal:
        why = f"answered {refusal.status}: {refusal.reason}"
        _answer(receiver, delivery.decide(Verdict.IGNORED, why), refusal.status)
        raise
    if isinstance(outcome, Ignored):
        return _answer(receiver, delivery.decide(Verdict.IGNORED, outcome.reason, outcome.push), outcome.status)
    freeze = freezes.active_freeze(config.freeze_directory, app.name, datetime.now(UTC))
    if freeze is not None:
        return _answer(receiver, delivery.decide(Verdict.FROZEN, str(freeze), outcome), Verdict.FROZEN)
    return _request_deployment(receiver, app, delivery, outcome, hashlib.sha256(payload).hexdigest())


def _note_refusal(receiver: Receiver, delivery: Delivery, refusal: Refusal) -> None:
    """Note a refusal. Log a bad signature in the line that fail2ban reads.

    The line holds no byte that the sender chose.
    """
    if isinstance(refusal, BadSignature):
        app = delivery.app or "-"
        event(log, "refused signature", logging.WARNING, app=app, client=delivery.client, check=refusal.check)
    receiver.refusal_log.note(delivery.refused(refusal), signature=isinstance(refusal, BadSignature))


def _answer(receiver: Receiver, decision: Decision, status: str | int) -> tuple[Response, int]:
    """Log and record a decision that deploys nothing, and return the answer. An entry that Redis rejects is logged.

    Raises RedisError for a frozen app without Redis: its push is answered 503, so that its sender repeats it and a
    decision explains it. Other events deploy nothing in any case, so their answer does not wait for Redis.
    """
    event(log, "push", app=decision.app, answer=status, why=decision.why)
    tolerated = () if decision.verdict is Verdict.FROZEN else (RedisError,)
    with suppress(*tolerated), receiver.store.connection.pipeline() as pipeline:
        record_delivery(pipeline, decision)
        for error in (reply for reply in pipeline.execute(raise_on_error=False) if isinstance(reply, Exception)):
            event(log, "decision not kept", logging.ERROR, app=decision.app, why=str(error))
    return jsonify(status=status, reason=decision.why), 200


def _request_deployment(
    receiver: Receiver, app: App, delivery: Delivery, push: Push, fingerprint: str
) -> tuple[Response, int]:
    wanted = DeploymentRequest(
        app=app.name,
        trigger=Trigger.PUSH,
        seconds=app.job_seconds,
        delivery=delivery.id if is_delivery(delivery.id) else None,
        fingerprint=fingerprint,
        claimed_commit=push.commit,
    )

    def note(pipeline: Pipeline, result: RequestResult) -> None:
        record_delivery(pipeline, delivery.answered(push, result))

    result = receiver.store.request(wanted, note=note)
    event(log, "push", app=app.name, answer=result.verdict, deployment=result.deployment)
    content = {
        "status": result.verdict,
        "deployment": result.deployment,
        "status_url": receiver.config.settings.status_url(result.deployment),
    }
    return jsonify(content), 200 if result.verdict is Verdict.DUPLICATE else 202


def _add_error_handlers(app: Flask) -> None:
    """Turn every exception into a JSON answer without internal details."""

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> tuple[Response, int]:
        return jsonify(error=error.reason), error.status

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int, Any]:
        headers = [(name, value) for name, value in error.get_headers() if name == "Allow"]
        return jsonify(error=error.name.lower()), error.code or 500, headers

    @app.errorhandler(RedisError)
    @app.errorhandler(Contention)
    def unavailable(error: Exception) -> tuple[Response, int, dict[str, str]]:
        event(log, "queue unreachable", logging.ERROR, why=str(error))
        return jsonify(error="the queue cannot be reached, try again"), 503, {"Retry-After": _RETRY_SECONDS}

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        event(log, "unexpected", logging.ERROR, trace=True, error=type(error).__name__)
        return jsonify(error="hookd failed, see its log"), 500
