"""docs/api.md describes the routes, fields and headers that the receiver really has."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from redis import Redis

from hookd.config import Config
from hookd.model.catalogue import Catalogue
from hookd.model.decision import Decision, Freeze, Lag
from hookd.model.deployment import Deployment, Step
from hookd.model.git_hosts import GitHost
from hookd.model.settings import Settings
from hookd.model.written import WrittenFiles
from hookd.queue.deployments import DeploymentStore
from hookd.queue.published import AppStatus, Quarantine
from hookd.receiver.app import Receiver, create_app
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.status_routes import ReadAccess
from tests.support import api_page

AUTOMATIC = {"HEAD", "OPTIONS"}


def served() -> set[tuple[str, str]]:
    """List every method and path of the application, without a request to its Redis."""
    store = DeploymentStore(Redis(), keep_seconds=1)
    config = Config(Path("/hookd.toml"), Settings(), Catalogue())
    app = create_app(Receiver(config, {}, store, RefusalLog(store.connection)), ReadAccess(True, None), store)
    return {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }


def test_page_lists_all_routes() -> None:
    assert set(api_page.routes()) == served()


def test_page_describes_each_object() -> None:
    named = {name for route in api_page.routes().values() for names in route.answers.values() for name in names}
    nested = set(re.findall(r"(?:list of |\()([A-Z]\w+)", api_page.TEXT))
    assert named | nested == set(api_page.fields())


@pytest.mark.parametrize(
    ("name", "model", "added"),
    [
        ("App", AppStatus, {"frozen", "repository", "branch", "deployments"}),
        ("Deployment", Deployment, {"status_url", "log_url"}),
        ("Decision", Decision, set()),
        ("Freeze", Freeze, set()),
        ("Lag", Lag, set()),
        ("Quarantine", Quarantine, set()),
        ("WrittenFiles", WrittenFiles, set()),
        ("Step", Step, set()),
    ],
)
def test_page_lists_all_fields(name: str, model: type[BaseModel], added: set[str]) -> None:
    assert api_page.fields()[name] == set(model.model_fields) | added


def test_page_lists_all_sender_headers() -> None:
    assert api_page.sender_headers() == {host.value: (host.event, host.delivery, host.signature) for host in GitHost}
