"""Redis away or hung: the receiver says so within the 2 s it promises, and takes pushes again when Redis is back."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.installation import Installation
from tests.support.receiver import push_body, stored
from tests.support.redis_server import redis_server
from tests.support.signatures import headers_of

# What the receiver promises to every sender, whatever Redis does.
PROMISED_SECONDS = 2.0
UNREACHABLE = {"error": "the queue cannot be reached, try again"}
PAGES = ["/apps", "/apps/github", "/deployments/github-20260101T000000000-abcdef", "/readyz"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A receiver whose Redis each test starts, stops and holds for itself."""
    with Installation(tmp_path) as installation:
        installation.add_app("github", sender="github")
        installation.redis_url = f"unix://{tmp_path}/redis/redis.sock?db=0"
        installation.write_config()
        installation.start_receiver()
        yield installation


def asked(site: Installation, send: Callable[[], tuple[int, dict[str, Any], Any]]) -> tuple[int, dict[str, Any], Any]:
    """Send a request and hold the receiver to its promise."""
    start = time.monotonic()
    answer = send()
    assert time.monotonic() - start < PROMISED_SECONDS
    return answer


def push(site: Installation) -> tuple[int, dict[str, Any], Any]:
    """Send a signed push."""
    body = push_body("github")
    return asked(site, lambda: site.post("/hooks/github", body, headers_of("github", body)))


def page(site: Installation, path: str) -> tuple[int, dict[str, Any], Any]:
    """Ask for a page."""
    return asked(site, lambda: site.post(path, b"", {}, method="GET"))


@contextmanager
def hung(site: Installation) -> Iterator[None]:
    """Let Redis take connections and answer nothing, for as long as the block."""
    with Redis.from_url(site.redis_url) as connection:
        process = int(connection.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.threat(14)
def test_push_without_redis_is_answered(site: Installation) -> None:
    status, answer, headers = push(site)
    assert (status, answer) == (503, UNREACHABLE)
    assert int(headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", PAGES)
def test_page_without_redis_is_answered(site: Installation, path: str) -> None:
    assert page(site, path)[:2] == (503, UNREACHABLE)


@pytest.mark.promise(62)
def test_health_does_not_depend_on_redis(site: Installation) -> None:
    assert page(site, "/healthz")[:2] == (200, {"status": "ok"})


def test_refusals_need_no_redis(site: Installation) -> None:
    body = push_body("github")
    wrong = asked(site, lambda: site.post("/hooks/github", body, headers_of("github", b"other")))
    ping = asked(site, lambda: site.post("/hooks/github", body, headers_of("github", body, event="ping")))
    assert (wrong[0], ping[0]) == (401, 200)


def test_pushes_resume_with_redis(site: Installation, tmp_path: Path) -> None:
    for _ in range(2):
        assert push(site)[0] == 503
        with redis_server(tmp_path / "redis"):
            assert push(site)[0] == 202


@pytest.mark.threat(14)
def test_hung_redis_is_answered_in_time(site: Installation, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis"), ExitStack() as stack:
        stack.enter_context(hung(site))
        assert push(site)[:2] == (503, UNREACHABLE)


def test_later_hang_is_noticed(site: Installation, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as url, Redis.from_url(url) as connection:
        assert push(site)[0] == 202
        before = stored(connection)
        with hung(site):
            assert push(site)[:2] == (503, UNREACHABLE)
            for path in PAGES:
                assert page(site, path)[:2] == (503, UNREACHABLE)
        status, answer, _ = push(site)
        assert (status, answer["status"]) in ((200, "duplicate"), (202, "coalesced"))
        assert stored(connection) == before


def test_full_memory_refuses_pushes(site: Installation, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as url, Redis.from_url(url) as connection:
        connection.config_set("maxmemory", 1)
        assert push(site)[:2] == (503, UNREACHABLE)
        connection.config_set("maxmemory", 0)
        assert stored(connection) == 0
        assert push(site)[0] == 202
