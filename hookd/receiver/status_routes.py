"""The status routes: deployments, apps, decisions and metrics, read-only and behind the bearer token."""

import hmac
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Flask, Response, jsonify, request, send_file

from hookd import freezes
from hookd.config import Config
from hookd.credentials import Secret, systemd_credential
from hookd.eventlog import event
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.deployment import Deployment
from hookd.queue.deployments import DeploymentStore
from hookd.queue.published import AppStatus, read_decisions, read_status, read_statuses
from hookd.receiver.errors import Refusal

log: Final = logging.getLogger(__name__)

MAX_DEPLOYMENTS: Final = 20
MAX_DECISIONS: Final = 100


@dataclass(frozen=True)
class ReadAccess:
    """The access rule of the status routes: public, or with the token. Without a token all requests are refused."""

    public: bool
    token: Secret | None

    def allows(self, authorization: str) -> bool:
        """Check an Authorization header, which WSGI decodes as Latin-1."""
        if self.public:
            return True
        scheme, _, given = authorization.partition(" ")
        expected = self.token.reveal() if self.token else b""
        fits = hmac.compare_digest(given.strip().encode("latin-1", "replace"), expected)
        return fits and bool(expected) and scheme.lower() == "bearer"


def load_read_access(config: Config) -> ReadAccess:
    """Read the access rule. Raises OSError if the token's file cannot be read."""
    settings = config.settings.receiver
    file = systemd_credential("token") or settings.token_file
    token = file.read_bytes().strip() if file else b""
    return ReadAccess(settings.public_status, Secret(token) if token else None)


def add_status_routes(app: Flask, config: Config, store: DeploymentStore, access: ReadAccess) -> None:
    """Add the status routes to the application."""

    def check_access() -> None:
        if not access.allows(request.headers.get("Authorization", "")):
            raise Refusal(401, "a bearer token is required")

    pages, guarded = _Pages(config, store), Blueprint("status", __name__)
    guarded.before_request(check_access)
    guarded.add_url_rule("/deployments/<deployment_id>", view_func=pages.deployment)
    guarded.add_url_rule("/deployments/<deployment_id>/log", view_func=pages.log)
    guarded.add_url_rule("/apps", view_func=pages.apps)
    guarded.add_url_rule("/apps/<name>", view_func=pages.app)
    guarded.add_url_rule("/apps/<name>/decisions", view_func=pages.decisions)
    guarded.add_url_rule("/metrics", view_func=pages.metrics)
    app.register_blueprint(guarded)
    app.add_url_rule("/healthz", "healthz", lambda: jsonify(status="ok"))
    app.add_url_rule("/readyz", view_func=pages.ready)


class _Pages:
    def __init__(self, config: Config, store: DeploymentStore) -> None:
        self._config = config
        self._store = store

    def deployment(self, deployment_id: str) -> Response:
        return jsonify(self._deployment_json(self._find_deployment(deployment_id)))

    def log(self, deployment_id: str) -> Response:
        deployment = self._find_deployment(deployment_id)
        try:
            file = open_regular_file(self._config.settings.log_path(deployment.app, deployment.id))
        except FileNotFoundError:
            return Response("", mimetype="text/plain")
        except OSError as error:
            event(log, "log not readable", logging.WARNING, deployment=deployment.id, why=str(error))
            raise Refusal(404, f"the log cannot be read, on the server: hookd logs {deployment.id}") from None
        response = send_file(file, mimetype="text/plain", conditional=False, max_age=0)
        response.content_length = os.fstat(file.fileno()).st_size
        return response

    def apps(self) -> Response:
        apps = self._config.catalogue.apps
        statuses = read_statuses(self._store.connection, [app.name for app in apps])
        return jsonify(apps=[self._app_json(app, status) for app, status in zip(apps, statuses, strict=True)])

    def app(self, name: str) -> Response:
        app = self._find_app(name)
        recent = self._store.history(app.name, MAX_DEPLOYMENTS)
        shown = self._app_json(app, read_status(self._store.connection, app.name))
        return jsonify(**shown, deployments=[self._deployment_json(deployment) for deployment in recent])

    def decisions(self, name: str) -> Response:
        """List the app's decisions without refused signatures, because their failed check is for the operator alone."""
        found = read_decisions(self._store.connection, self._find_app(name).name, MAX_DECISIONS)
        return jsonify(decisions=[decision.model_dump(mode="json") for decision in found])

    def metrics(self) -> Response:
        from hookd.receiver.metrics import metrics_page  # Not every server is scraped.

        return metrics_page(self._config, self._store, request)

    def ready(self) -> Response:
        self._store.connection.ping()
        return jsonify(status="ready")

    def _find_deployment(self, deployment_id: str) -> Deployment:
        deployment = self._store.find(deployment_id)
        if deployment is None:
            raise Refusal(404, "no such deployment")
        return deployment

    def _find_app(self, name: str) -> App:
        app = self._config.catalogue.get(name)
        if app is None:
            raise Refusal(404, "no such app")
        return app

    def _deployment_json(self, deployment: Deployment) -> dict[str, Any]:
        url = self._config.settings.status_url(deployment.id)
        return {**deployment.model_dump(mode="json"), "status_url": url, "log_url": f"{url}/log"}

    def _app_json(self, app: App, status: AppStatus) -> dict[str, Any]:
        freeze = freezes.active_freeze(self._config.freeze_directory, app.name, datetime.now(UTC))
        return {**status.to_json(freeze), "repository": app.full_name, "branch": app.branch}
