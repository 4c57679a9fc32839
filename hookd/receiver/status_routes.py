"""Status over HTTP for people and scripts with the bearer token; reads records and logs, changes nothing."""

import hmac
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final

from flask import Flask, Response, jsonify, request, send_file

from hookd import freezes
from hookd.config import Config
from hookd.credentials import Secret, systemd_credential
from hookd.eventlog import event
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.app_status import AppStatus
from hookd.model.deployment import Deployment
from hookd.model.ids import is_deployment
from hookd.queue.app_status import AppStatusStore
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.decision_log import read_newest
from hookd.queue.deployments import DeploymentStore
from hookd.receiver.errors import Refusal
from hookd.receiver.metrics import metrics_page

log: Final = logging.getLogger(__name__)

MAX_DEPLOYMENTS: Final = 20
MAX_DECISIONS: Final = 100
View = Callable[..., Any]


@dataclass(frozen=True)
class ReadAccess:
    """Who may read status: everyone, or whoever brings the token; nobody when there is none."""

    public: bool
    token: Secret | None

    def allows(self, authorization: str) -> bool:
        """Judge the value of an Authorization header, which WSGI decodes as Latin-1."""
        if self.public:
            return True
        scheme, _, given = authorization.partition(" ")
        expected = self.token.reveal() if self.token else b""
        fits = hmac.compare_digest(given.strip().encode("latin-1", "replace"), expected)
        return fits and bool(expected) and scheme.lower() == "bearer"


def load_read_access(config: Config) -> ReadAccess:
    """Read who may read; raises OSError when the token's file cannot be read."""
    settings = config.settings.receiver
    file = systemd_credential("token") or settings.token_file
    token = file.read_bytes().strip() if file else b""
    return ReadAccess(settings.public_status, Secret(token) if token else None)


def status_url(config: Config, deployment_id: str) -> str:
    """Where a deployment's status can be read; only a path when `receiver.public_url` is not set."""
    return f"{(config.settings.receiver.public_url or '').rstrip('/')}/deployments/{deployment_id}"


def add_status_routes(app: Flask, config: Config, records: DeploymentStore, readers: ReadAccess) -> None:
    """Add the reading routes to the application."""
    pages = _Pages(config, records)
    routes: dict[str, View] = {
        "/deployments/<deployment_id>": pages.deployment,
        "/deployments/<deployment_id>/log": pages.log,
        "/apps": pages.apps,
        "/apps/<name>": pages.app,
        "/apps/<name>/decisions": pages.decisions,
        "/metrics": pages.metrics,
    }
    for rule, view in routes.items():
        app.add_url_rule(rule, view.__name__, _guarded(view, readers), methods=["GET"])
    app.add_url_rule("/healthz", "healthz", lambda: jsonify(status="ok"), methods=["GET"])
    app.add_url_rule("/readyz", "readyz", pages.ready, methods=["GET"])


def _guarded(view: View, readers: ReadAccess) -> View:
    @wraps(view)
    def guarded(**arguments: str) -> Any:
        if not readers.allows(request.headers.get("Authorization", "")):
            raise Refusal(401, "a bearer token is required")
        return view(**arguments)

    return guarded


class _Pages:
    def __init__(self, config: Config, records: DeploymentStore) -> None:
        self._config = config
        self._records = records

    def deployment(self, deployment_id: str) -> Response:
        return jsonify(self._shown(self._record(deployment_id)))

    def log(self, deployment_id: str) -> Response:
        record = self._record(deployment_id)
        try:
            file = open_regular_file(self._config.settings.log_path(record.app, record.id))
        except FileNotFoundError:
            return Response("", mimetype="text/plain")
        except OSError as error:
            event(log, "log not readable", logging.WARNING, deployment=record.id, why=str(error))
            raise Refusal(404, f"the receiver may not read this log; on the server: hookd logs {record.id}") from None
        response = send_file(file, mimetype="text/plain", conditional=False, max_age=0)
        response.content_length = os.fstat(file.fileno()).st_size
        return response

    def apps(self) -> Response:
        apps = self._config.catalogue.apps
        views = AppStatusStore(self._records.connection).read_all(app.name for app in apps)
        return jsonify(apps=[self._summary(app, view) for app, view in zip(apps, views, strict=True)])

    def app(self, name: str) -> Response:
        app = self._app(name)
        recent = self._records.history(app.name, MAX_DEPLOYMENTS)
        shown = self._summary(app, AppStatusStore(self._records.connection).read(app.name))
        return jsonify(**shown, deployments=[self._shown(record) for record in recent])

    def decisions(self, name: str) -> Response:
        """Refused signatures are not among them: which check failed is the operator's to know."""
        found = read_newest(self._records.connection, self._app(name).name, MAX_DECISIONS)
        return jsonify(decisions=[decision.model_dump(mode="json") for decision in found])

    def metrics(self) -> Response:
        return metrics_page(self._config, self._records, request)

    def ready(self) -> Response:
        self._records.connection.ping()
        return jsonify(status="ready")

    def _record(self, deployment_id: str) -> Deployment:
        try:
            if is_deployment(deployment_id):
                return self._records.get(deployment_id)
        except NoSuchDeployment:
            pass
        raise Refusal(404, "no such deployment")

    def _app(self, name: str) -> App:
        app = self._config.catalogue.get(name)
        if app is None:
            raise Refusal(404, "no such app")
        return app

    def _shown(self, record: Deployment) -> dict[str, Any]:
        url = status_url(self._config, record.id)
        return {**record.model_dump(mode="json"), "status_url": url, "log_url": f"{url}/log"}

    def _summary(self, app: App, view: AppStatus) -> dict[str, Any]:
        freeze = freezes.active_freeze(self._config.frozen, app.name, datetime.now(UTC))
        frozen = freeze.model_dump(mode="json") if freeze else None
        return {**view.model_dump(mode="json"), "frozen": frozen, "repository": app.full_name, "branch": app.branch}
