"""A failed configuration on a server: the printed command mends it, and the same commit is tried again by itself."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, set_up_layer

APP = """
import os
{top}
def app(environ, start_response):
    found = environ["PATH_INFO"] != "/healthz"
    start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain")])
    return [b"{version}"]
"""


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app that has no health page, before its first deployment."""
    with servers.start(set_up_layer(servers)) as machine:
        shop = Shop(machine)
        shop.commit("v1", {"wsgi.py": APP.format(version="v1", top="")})
        remote = shop.repository.url
        shop.allow_reading()
        options = ("--handover", "restart", "--health", "/healthz", "--no-deploy")
        shop.hookd("app", "add", "shop", "--repo", remote, "--domain", shop.domain, *options)
        yield shop


def retried(shop: Shop, printed: str) -> str:
    """Return the ending of the deployment that a command has requested."""
    found = re.search(r"it is tried again: (\S+)", printed)
    assert found, printed
    return str(shop.ending(found[1])["status"])


def test_edit_mends_the_first_deployment(shop: Shop) -> None:
    done = shop.machine.run("hookd", "deploy", "shop", check=False)
    assert "the first release is bad: /healthz answered 404, not 200 (health.url)" in done.stdout
    assert "next: sudo hookd app edit shop --set health.url=…" in done.stdout
    assert "next: sudo hookd app edit shop --set health.url=…" in shop.hookd("status", "shop")
    assert retried(shop, shop.hookd("app", "edit", "shop", "--set", "health.url=/")) == "succeeded"
    assert shop.page() == "v1"


def test_variable_mends_a_push(shop: Shop) -> None:
    record = shop.push("v2", {"wsgi.py": APP.format(version="v2", top='TOKEN = os.environ["API_TOKEN"]')})
    assert record["cause"] == "the app does not start from this commit: KeyError: 'API_TOKEN'"
    assert "next: sudo hookd env set shop API_TOKEN" in shop.hookd("status", "shop")
    assert "until the app or its variables are edited" in shop.hookd("why", "shop")
    findings = json.loads(shop.machine.run("hookd", "doctor", "shop", "--json", check=False).stdout)
    assert "has been quarantined" in json.dumps(findings)
    printed = shop.machine.run("hookd", "env", "set", "shop", "API_TOKEN", input="a-value-of-a-token\n").stdout
    assert retried(shop, printed) == "succeeded"
    assert shop.page() == "v2"


def test_edit_of_a_file_is_found(shop: Shop) -> None:
    record = shop.push("v3", {"wsgi.py": APP.format(version="v3", top='KEY = os.environ["OTHER_KEY"]')})
    assert record["status"] == "failed"
    shop.machine.shell("echo OTHER_KEY=1 >>/etc/hookd/env/shop")
    shop.machine.run("systemctl", "start", "hookd-reconcile.service")  # As the timer would.
    shop.machine.wait_until(lambda: shop.page() == "v3", what="the deployment by the reconciler")


def test_refused_health_page_rolls_back(shop: Shop) -> None:

    bad = APP.format(version="v4", top="").replace(
        "    found =", '    assert environ["SERVER_SOFTWARE"] == "x", "no database"\n    found ='
    )
    record = shop.push("v4", {"wsgi.py": bad})
    assert record["status"] == "rolled_back"
    assert "/ answered 500, not 200: the app raised AssertionError: no database" in record["cause"]
    assert shop.page() == "v3"
