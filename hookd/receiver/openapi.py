"""The receiver's routes as an OpenAPI 3.1 document, built from the models that the answers are made of.

docs/openapi.json holds what `python -m hookd.receiver.openapi` prints.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from hookd import __version__
from hookd.model.app_status import AppStatus
from hookd.model.decision import Decision
from hookd.model.deployment import Deployment
from hookd.model.eligibility import Freeze
from hookd.model.ids import APP_PATTERN, DEPLOYMENT_PATTERN, DeploymentId
from hookd.receiver.senders import SENDERS

_REF: Final = "#/components/schemas/{model}"


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Accepted(_Answer):
    """The push is answered by a deployment: a new one (`queued`), or the one that waits already (`joined`)."""

    status: Literal["queued", "coalesced"]
    deployment: DeploymentId
    status_url: str


class Duplicate(_Answer):
    """This delivery has been answered before, by this deployment."""

    status: Literal["duplicate"]
    deployment: DeploymentId
    status_url: str


class Ignored(_Answer):
    """An authentic event that asks for nothing, and why; `pong` answers a ping, `frozen` a push that is recorded."""

    status: Literal["ignored", "pong", "frozen"]
    reason: str


class Error(_Answer):
    """Why the request was not served, in one sentence."""

    error: str


class Alive(_Answer):
    """The receiver answers."""

    status: Literal["ok"]


class Ready(_Answer):
    """The receiver answers and reaches its queue."""

    status: Literal["ready"]


class ShownDeployment(Deployment):
    """A deployment's record, and where it and its log can be read."""

    status_url: str
    log_url: str


class ShownApp(AppStatus):
    """An app as the worker last saw it, and what it deploys."""

    model_config = ConfigDict(extra="forbid")
    frozen: Freeze | None
    repository: str
    branch: str


class ShownAppWithHistory(ShownApp):
    """An app and its latest deployments, the newest first."""

    deployments: tuple[ShownDeployment, ...]


class Apps(_Answer):
    """All apps of the host."""

    apps: tuple[ShownApp, ...]


class Decisions(_Answer):
    """What was decided about the app's deliveries and looks at its branch, the newest first."""

    decisions: tuple[Decision, ...]


class _Schemas(GenerateJsonSchema):
    """Schemas of what is sent: every field is there, with its default if need be."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        return True


@dataclass(frozen=True)
class Route:
    """One method of one path; `answers` maps a status to the models its body may be of, none for plain text."""

    method: Literal["get", "post"]
    path: str
    summary: str
    answers: Mapping[int, tuple[type[BaseModel], ...]]
    refusals: tuple[int, ...] = ()
    token: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


_REASONS: Final = {
    200: "The answer.",
    202: "The push is recorded and will be deployed.",
    400: "Not JSON, or not shaped like the event.",
    401: "No valid signature, no such app, or no valid token: the answer does not tell which.",
    404: "There is no such thing, or no longer.",
    408: "The body did not arrive in time.",
    411: "A Content-Length is required.",
    413: "The body is too large.",
    415: "The content type is neither JSON nor a form.",
    503: "The queue cannot be reached; try again after the seconds that Retry-After names.",
}
_PUSH_BODY: Final = {
    "required": True,
    "description": "A push event, as the app's sender writes it. In a form, `payload` holds the JSON.",
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "application/x-www-form-urlencoded": {
            "schema": {
                "type": "object",
                "required": ["payload"],
                "properties": {"payload": {"type": "string", "contentMediaType": "application/json"}},
            }
        },
    },
}
ROUTES: Final = (
    Route(
        "post",
        "/hooks/{name}",
        "Take a signed push event.",
        {200: (Duplicate, Ignored), 202: (Accepted,)},
        (400, 401, 408, 411, 413, 415, 503),
        extra={"requestBody": _PUSH_BODY},
    ),
    Route("get", "/apps", "List the apps.", {200: (Apps,)}, (401, 503), token=True),
    Route(
        "get",
        "/apps/{name}",
        "Show an app and its latest deployments.",
        {200: (ShownAppWithHistory,)},
        (401, 404, 503),
        token=True,
    ),
    Route(
        "get",
        "/deployments/{deployment_id}",
        "Show a deployment.",
        {200: (ShownDeployment,)},
        (401, 404, 503),
        token=True,
    ),
    Route(
        "get",
        "/deployments/{deployment_id}/log",
        "Show a deployment's log.",
        {200: ()},
        (401, 404, 503),
        token=True,
    ),
    Route(
        "get",
        "/apps/{name}/decisions",
        "Show what was decided about an app, and why.",
        {200: (Decisions,)},
        (401, 404, 503),
        token=True,
    ),
    Route("get", "/metrics", "Give Prometheus its numbers.", {200: ()}, (401, 503), token=True),
    Route("get", "/healthz", "Tell whether the receiver answers.", {200: (Alive,)}),
    Route("get", "/readyz", "Tell whether the receiver can take pushes.", {200: (Ready,)}, (503,)),
)
_PARAMETERS: Final = {
    "name": ("The app's name.", APP_PATTERN),
    "deployment_id": ("The deployment's id.", DEPLOYMENT_PATTERN),
}


def document() -> dict[str, Any]:
    """Build the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hookd",
            "summary": "Takes signed pushes and shows what became of them.",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def rendered() -> str:
    """Write the document as it stands in docs/openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(route: Route) -> dict[str, Any]:
    responses = {str(status): _response(status, *models) for status, models in route.answers.items()}
    responses |= {str(status): _response(status, Error) for status in route.refusals}
    return {
        "summary": route.summary,
        **({"security": [{"token": []}, {}]} if route.token else {}),
        "parameters": [*_path_parameters(route.path), *(_headers() if route.method == "post" else ())],
        **route.extra,
        "responses": responses,
    }


def _response(status: int, *models: type[BaseModel]) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if refs:
        content = {"application/json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}}
    retry = {"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status == 503 else {}
    return {"description": _REASONS[status], **retry, "content": content}


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for name, (text, pattern) in _PARAMETERS.items():
        if f"{{{name}}}" in path:
            schema = {"type": "string", "pattern": f"^{pattern}$"}
            yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _headers() -> Iterable[dict[str, Any]]:
    """Name the headers that are read, by sender; an app reads only those of its own sender."""
    for host, sender in SENDERS.items():
        digest = {"type": "string", "pattern": f"^{sender.prefix}[0-9a-f]{{64}}$"}
        what = "The HMAC-SHA256 of the body"
        signed = f"{what}, or of a form's decoded payload" if sender.signs_form_value else what
        for name, text, schema in (
            (sender.event, "The event.", {"type": "string"}),
            (sender.delivery, "The delivery's id.", {"type": "string"}),
            (sender.signature, f"{signed}.", digest),
        ):
            yield {"name": name, "in": "header", "description": f"{text} Sender {host}.", "schema": schema}


def _schemas() -> dict[str, Any]:
    models = {model for route in ROUTES for answer in route.answers.values() for model in answer} | {Error}
    wanted: list[tuple[type[BaseModel], Literal["serialization"]]] = [
        (model, "serialization") for model in sorted(models, key=lambda model: model.__name__)
    ]
    schemas: dict[str, Any] = models_json_schema(wanted, ref_template=_REF, schema_generator=_Schemas)[1]["$defs"]
    return dict(sorted(schemas.items()))


if __name__ == "__main__":
    sys.stdout.write(rendered())
