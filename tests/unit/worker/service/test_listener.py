"""Another user's listening socket on an app's port is found, whichever address it has."""

import os
import pwd
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.hint import HintKind
from tests.support.apps import app
from worker.errors import Fault, ReleaseKilled, Unhealthy
from worker.report.cause import health_cause
from worker.service import manager, serving
from worker.service.drift import DriftReport, ServiceState, Serving
from worker.service.health import Answer
from worker.service.listener import find_stranger

OWN = pwd.getpwuid(os.geteuid()).pw_name
OTHER = next(user.pw_name for user in pwd.getpwall() if user.pw_uid != os.geteuid())
ADDRESSES = [
    ("127.0.0.1", "127.0.0.1"),
    ("0.0.0.0", "127.0.0.1"),
    ("127.0.0.1", "0.0.0.0"),
    ("::1", "[::1]"),
    ("::", "127.0.0.1"),
    ("::ffff:127.0.0.1", "127.0.0.1"),
]


@pytest.fixture
def listen(request: pytest.FixtureRequest) -> Callable[[str], int]:
    """Listen on a free port of an address, and return the port."""

    def start(host: str) -> int:
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        request.addfinalizer(server.close)
        if ":" in host:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((host, 0))
        server.listen()
        port: int = server.getsockname()[1]
        return port

    return start


def own_command(listens: str, user: str = OTHER, **service: Any) -> App:
    """Return an app whose own command should listen on an address."""
    table = {"units": "hookd", "command": ["serve"], "listen": listens, **service}
    return app(service=table, ownership={"user": user}, health={"url": "http://127.0.0.1:1/"})


@pytest.mark.threat(28)
@pytest.mark.parametrize(("bound", "named"), ADDRESSES)
def test_stranger_on_the_port(listen: Callable[[str], int], bound: str, named: str) -> None:
    address = f"{named}:{listen(bound)}"
    assert find_stranger(own_command(address)) == f"{address} is held by another user: {OWN}"
    assert find_stranger(own_command(address, OWN)) is None


def test_other_places_are_no_strangers(listen: Callable[[str], int]) -> None:
    port = listen("127.0.0.2")
    assert find_stranger(own_command(f"127.0.0.1:{port}")) is None
    assert find_stranger(own_command(f"127.0.0.2:{port}", command=None)) is None
    assert find_stranger(own_command(f"127.0.0.2:{port}", "nobody-knows")) is None


@pytest.mark.threat(28)
@pytest.mark.parametrize("is_healthy", [True, False])
def test_strangers_answer_fails_the_check(
    listen: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, is_healthy: bool
) -> None:
    """The commit is innocent, and a person sees who holds the port."""

    def wait(*_: object) -> None:
        if not is_healthy:
            raise Unhealthy("the service ended by itself")

    monkeypatch.setattr(manager, "wait_until_healthy", wait)
    known = own_command(f"127.0.0.1:{listen('127.0.0.1')}")
    task: Any = SimpleNamespace(app=known, recorder=SimpleNamespace(line=lambda _: None))
    with pytest.raises(ReleaseKilled, match="is held by another user") as caught:
        manager.verify_health(task, "shop", None)
    cause = health_cause(str(caught.value), known)
    assert (cause.fault, cause.hint and cause.hint.kind) == (Fault.HOST, HintKind.SHOW_PORT)


@pytest.mark.threat(91)
def test_strangers_answer_is_unhealthy(listen: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ask", lambda *_: Answer(True, False, "answered 200"))
    known = own_command(f"127.0.0.1:{listen('127.0.0.1')}")
    report = DriftReport("shop runs", serving=Serving("shop", "000001-a", ServiceState("active", 100.0)))
    found = serving.with_health(known, None, report)
    assert found.is_healthy is False and "is held by another user" in found.summary
