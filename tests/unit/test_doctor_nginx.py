"""nginx's configuration is read far enough to know which body reaches the receiver."""

import pytest

from units.doctor.nginx import judge_limits
from units.doctor.nginx_config import Passed, parse, passed_on

BIND = "unix:/run/hookd/receiver.sock"
WANTED = 25 * 1024 * 1024


def found(text: str) -> list[Passed]:
    return list(passed_on(parse(text)))


def site(inside: str = "", http: str = "", location: str = "") -> str:
    return f"""
    events {{ worker_connections 768; }}
    http {{
        {http}
        log_format odd '$remote_addr {{ "$request" }} # no comment; }}';
        map $http_upgrade $up {{ default upgrade; '' close; }}
        server {{
            listen 80; server_name deploy.example.org "other.example.org";
            {inside}
            location = /x {{ return 200 "a;b}}"; }}
            location ^~ /hooks/ {{
                {location}
                limit_except POST {{ deny all; }}
                proxy_pass http://{BIND};
            }}
        }}
    }}
    """


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
    assert found(text) == [Passed(("deploy.example.org", "other.example.org"), f"http://{BIND}", largest)]


def test_an_upstream_is_followed_to_its_server() -> None:
    text = site(http=f"upstream hookd {{ server {BIND} fail_timeout=0; }}").replace(f"http://{BIND}", "http://hookd/")
    assert [place.target for place in found(text)] == [BIND]


@pytest.mark.parametrize(
    "text", ["", "}", "}}}} http {", "server_name x", 'http { server { "', "http { upstream { } }"]
)
def test_a_text_that_is_no_configuration_is_no_failure(text: str) -> None:
    assert found(text) == []


def test_a_limit_that_is_too_small_is_named_with_its_site() -> None:
    (problem,) = judge_limits([*found(site()), *found(site())], BIND, WANTED)
    assert problem.level == "error"
    assert "nginx takes 1048576 bytes at most for deploy.example.org" in problem.what
    assert "sudo hookd setup && sudo nginx -t" in (problem.hint or "")


@pytest.mark.parametrize("limit", ["26214400", "25m", "1g", "0"])
def test_a_limit_that_is_large_enough(limit: str) -> None:
    assert not list(judge_limits(found(site(f"client_max_body_size {limit};")), BIND, WANTED))


def test_no_site_for_the_receiver() -> None:
    (problem,) = judge_limits(found(site().replace("receiver.sock", "another.sock")), BIND, WANTED)
    assert (problem.level, problem.hint) == ("error", "sudo hookd setup --domain DOMAIN")
    assert "no push arrives" in problem.what
