"""Server names and body limits in nginx's configuration."""

from pathlib import Path

import pytest

from tests.support.receiver_site import BIND, found, site
from units.system.nginx_config import ProxyTarget, config_files, parse, server_names


@pytest.mark.parametrize(
    ("text", "largest"),
    [
        (site(), 1024**2),
        (site(http="client_max_body_size 30m;"), 30 * 1024**2),
        (site("client_max_body_size 26214400;", http="client_max_body_size 1m;"), 26_214_400),
        (site("client_max_body_size 1k;", location="client_max_body_size 2G;"), 2 * 1024**3),
        (site(location="# client_max_body_size 5m;\nclient_max_body_size 0;"), 0),
    ],
)
def test_the_innermost_limit_holds(text: str, largest: int) -> None:
    assert found(text) == [ProxyTarget(("deploy.example.org", "other.example.org"), f"http://{BIND}", largest)]


def test_upstream_leads_to_its_server() -> None:
    text = site(http=f"upstream hookd {{ server {BIND} fail_timeout=0; }}").replace(f"http://{BIND}", "http://hookd/")
    assert [place.target for place in found(text)] == [BIND]


@pytest.mark.parametrize(
    "text", ["", "}", "}}}} http {", "server_name x", 'http { server { "', "http { upstream { } }"]
)
def test_invalid_text_is_no_failure(text: str) -> None:
    assert found(text) == []


NAMES = """
# configuration file /etc/nginx/nginx.conf:
http { include sites-enabled/*; server { server_name a.org; server_name "b.org" ~^c$; } }
stream { server { server_name d.org; } }

# configuration file /etc/nginx/sites-enabled/hookd-shop:
server { server_name shop.org; }

# configuration file /etc/nginx/sites-enabled/other:
server { # server_name gone.org;
    return 200 "server_name said.org;"; server_name other.org www.other.org; }
"""


def test_names_of_other_sites() -> None:
    others = {"a.org", "b.org", "~^c$", "other.org", "www.other.org"}
    assert server_names(parse(NAMES)) == {*others, "shop.org"}
    assert server_names(parse(NAMES, without="hookd-shop")) == others


def test_files_are_listed_once() -> None:
    printed = "# configuration file /etc/nginx/nginx.conf:\nuser x;\n\n# configuration file /etc/nginx/a b:\n"
    assert config_files(printed + printed) == [Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/a b")]
