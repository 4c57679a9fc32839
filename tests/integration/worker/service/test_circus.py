"""Requests to circus: errors, a silent socket and unknown services."""

from pathlib import Path

import pytest

from hookd.model.app import Service
from tests.support.installation import Installation
from worker.errors import CommandFailed
from worker.service.circus import ask, process_ids

APPS: dict[str, dict[str, str]] = {"shop": {}}


def service(endpoint: str) -> Service:
    return Service(manager="circus", endpoint=endpoint)


def test_silence_ends_the_question(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/nobody.sock"
    with pytest.raises(CommandFailed, match=f"^circus did not answer at {endpoint} within 0.5 s$"):
        ask(service(endpoint), "status", "shop", 0.5)


@pytest.mark.parametrize("verb", ["status", "list", "start"])
def test_an_unknown_service_is_an_error(site: Installation, verb: str) -> None:
    with pytest.raises(CommandFailed, match=r"^circus: .*cellar"):
        ask(service(site.endpoint), verb, "cellar")


def test_a_stopped_service_says_so(site: Installation) -> None:
    assert ask(service(site.endpoint), "status", "shop-blue")["status"] == "stopped"
    assert process_ids(service(site.endpoint), "shop-blue") == ()
