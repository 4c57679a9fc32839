"""The OpenAPI file and the routes that are served say the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from hookd.config import Config
from hookd.model.app import Catalogue
from hookd.model.app_status import AppStatus
from hookd.model.deployment import Deployment
from hookd.model.settings import Settings
from hookd.queue.deployments import DeploymentStore
from hookd.receiver import openapi
from hookd.receiver.app import Receiver, create_app
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.secrets import Keyring
from hookd.receiver.status_routes import ReadAccess
from tests.support.processes import PROJECT

DOCUMENT = openapi.document()
AUTOMATIC = {"HEAD", "OPTIONS"}


def served() -> set[tuple[str, str]]:
    """List every method and path of the application; the Redis it names is never asked."""
    records = DeploymentStore(Redis(), keep_seconds=1)
    config = Config(Path("/hookd.toml"), Settings(), Catalogue())
    app = create_app(Receiver(config, Keyring({}), records, RefusalLog(records.connection)), ReadAccess(True, None))
    return {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }


def described() -> set[tuple[str, str]]:
    """List every method and path of the document."""
    return {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}


def test_a_route_that_is_served_and_not_described_is_found() -> None:
    assert served() - described() == set()


def test_a_route_that_is_described_and_not_served_is_found() -> None:
    assert described() - served() == set()


def test_the_file_is_not_older_than_its_generator() -> None:
    written = (PROJECT / "docs" / "openapi.json").read_text()
    assert written == openapi.rendered(), "run: python -m hookd.receiver.openapi > docs/openapi.json"


def references(part: Any) -> set[str]:
    """Collect every reference of a document."""
    if isinstance(part, dict):
        found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return found.union(*(references(value) for value in part.values()))
    return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()


def test_no_reference_leads_nowhere_and_no_schema_is_left_over() -> None:
    assert references(DOCUMENT) == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


@pytest.mark.parametrize(("method", "path"), sorted(described()))
def test_every_variable_of_a_path_is_described(method: str, path: str) -> None:
    parameters = DOCUMENT["paths"][path][method]["parameters"]
    assert {each["name"] for each in parameters if each["in"] == "path"} == set(re.findall(r"{(\w+)}", path))


@pytest.mark.parametrize(
    ("schema", "source", "added"),
    [
        ("ShownDeployment", Deployment, {"status_url", "log_url"}),
        ("ShownApp", AppStatus, {"frozen", "repository", "branch"}),
        ("ShownAppWithHistory", AppStatus, {"frozen", "repository", "branch", "deployments"}),
    ],
)
def test_no_field_of_a_record_is_missing_or_optional(schema: str, source: Any, added: set[str]) -> None:
    shown = DOCUMENT["components"]["schemas"][schema]
    assert set(shown["properties"]) == set(shown["required"]) == set(source.model_fields) | added


def test_only_pages_that_need_the_token_say_so() -> None:
    secured = {path for path, operations in DOCUMENT["paths"].items() if "security" in operations.get("get", {})}
    apps = {"/apps", "/apps/{name}", "/apps/{name}/decisions"}
    assert secured == apps | {"/deployments/{deployment_id}", "/deployments/{deployment_id}/log", "/metrics"}


def test_the_document_is_json_of_the_version_it_names() -> None:
    assert json.loads(openapi.rendered())["openapi"] == "3.1.0"
