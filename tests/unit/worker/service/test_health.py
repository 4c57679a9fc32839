"""Health checks against a real server: healthy, slow, wrong, silent, gone or ending."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hookd.model.tables.health import Health
from tests.support.processes import free_port
from worker.errors import Unhealthy
from worker.service.health import wait_until_healthy

Reply = Callable[[socket.socket], None]
RUNS = ("shop: 17",)


def answers_with(status: int) -> Reply:
    return lambda peer: peer.sendall(f"HTTP/1.1 {status} Text\r\nContent-Length: 0\r\n\r\n".encode())


def sends(data: bytes) -> Reply:
    return lambda peer: peer.sendall(data)


def hangs(peer: socket.socket) -> None:
    """Wait until the client closes the connection."""
    while peer.recv(4096):
        pass


def stops(peer: socket.socket) -> None:
    """Begin an answer and stop."""
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    hangs(peer)


def closes(_peer: socket.socket) -> None:
    """Answer with nothing."""


def drips(peer: socket.socket) -> None:
    """Send a header that never ends, one byte at a time, faster than any single wait."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    peer.settimeout(0.05)
    while True:
        with suppress(TimeoutError):
            if not peer.recv(1):
                return
        peer.sendall(b"x")


class Server:
    """Answers each connection with the next of its replies, and with the last one for ever."""

    def __init__(self, replies: tuple[Reply, ...], path: Path | None) -> None:
        self.requests: list[bytes] = []
        self._replies = list(replies)
        family = socket.AF_UNIX if path else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.bind(str(path) if path else ("127.0.0.1", 0))
        self._socket.listen(50)
        self.url = f"unix:{path}:/healthz" if path else f"http://127.0.0.1:{self._socket.getsockname()[1]}/healthz"
        self._thread = threading.Thread(target=self._serve)

    @contextmanager
    def running(self) -> Iterator["Server"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer, suppress(ConnectionError):
                self.requests.append(peer.recv(65536))
                reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
                reply(peer)


@contextmanager
def server(*replies: Reply, path: Path | None = None) -> Iterator[Server]:
    with Server(replies, path).running() as running:
        yield running


def check(url: str, processes: Callable[[], tuple[str, ...]] = lambda: RUNS, **over: Any) -> list[str]:
    """Wait for health with short limits, and return the notes."""
    notes: list[str] = []
    health = Health.model_validate({"url": url, "deadline": 10, "timeout": 5, "steady": 0, **over})
    wait_until_healthy(health, "blue", notes.append, processes)
    return notes


@pytest.fixture(params=["tcp", "unix"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The path of the server's unix socket, or None for TCP."""
    return tmp_path / "s" if request.param == "unix" else None


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the processes ten times a second."""
    monkeypatch.setattr("worker.service.health._CHECK_SECONDS", 0.1)


def test_steady_seconds(path: Path | None) -> None:
    with server(answers_with(200), path=path) as running:
        began = time.monotonic()
        check(running.url, steady=0.4)
        assert time.monotonic() - began >= 0.4
        assert len(running.requests) > 3


def test_wrong_answer_after_healthy_ones(path: Path | None) -> None:
    with (
        server(*[answers_with(200)] * 5, answers_with(500), path=path) as running,
        pytest.raises(Unhealthy, match="answered 500"),
    ):
        check(running.url, steady=5)


@pytest.mark.usefixtures("attentive")
def test_process_ends_after_healthy_answers(path: Path | None) -> None:
    lives = iter(["pid 1", "pid 1"])
    with server(answers_with(200), path=path) as running, pytest.raises(Unhealthy, match="ended by itself"):
        check(running.url, lambda: (next(lives, "pid 0"),), steady=5)


def test_restarted_process_is_unhealthy(path: Path | None) -> None:
    """A held socket lets requests wait until the service is back, so all answers may be healthy."""
    lives = iter(["pid 1"])
    with server(answers_with(200), path=path) as running, pytest.raises(Unhealthy, match="ended by itself"):
        check(running.url, lambda: (next(lives, "pid 2"),), steady=0.1)


def test_deadline_excludes_steady_seconds(path: Path | None) -> None:
    """The deadline is for the first healthy answers."""
    with server(answers_with(200), path=path) as running:
        check(running.url, deadline=0.2, steady=0.5)


@pytest.mark.promise(16)
def test_three_healthy_answers_in_a_row(path: Path | None) -> None:
    with server(answers_with(200), path=path) as running:
        assert check(running.url) == [f"{running.url} answered 200, 3 times in a row"]
        assert len(running.requests) == 3


def test_request_path_query_and_host() -> None:
    with server(answers_with(204)) as running:
        check(f"{running.url}?deep=1", host="shop.example.org", status=204, successes=1)
        first, *headers = running.requests[0].decode().split("\r\n")
    assert first == "GET /healthz?deep=1 HTTP/1.1"
    assert "Host: shop.example.org" in headers


def test_colour_in_the_url(tmp_path: Path) -> None:
    with server(answers_with(200), path=tmp_path / "blue.sock"):
        assert check(f"unix:{tmp_path}/{{colour}}.sock:/healthz", successes=1)


@pytest.mark.parametrize("status", [500, 404, 302, 204])
def test_three_wrong_answers_end_the_wait(path: Path | None, status: int) -> None:
    """The wait ends long before the deadline."""
    with server(answers_with(status), path=path) as running:
        with pytest.raises(Unhealthy, match=f"answered {status}, 3 times$"):
            check(running.url, deadline=30)
        assert len(running.requests) == 3


def test_two_wrong_answers_are_allowed() -> None:
    with server(answers_with(500), answers_with(500), answers_with(200)) as running:
        assert check(running.url)
        assert len(running.requests) == 5


def test_answer_resets_the_other_count() -> None:
    replies = [
        answers_with(500),
        answers_with(500),
        answers_with(200),
        answers_with(500),
        answers_with(200),
        answers_with(200),
        answers_with(500),
        answers_with(500),
        answers_with(500),
    ]
    with server(*replies) as running:
        with pytest.raises(Unhealthy, match="answered 500, 3 times"):
            check(running.url)
        assert len(running.requests) == 9


def test_wait_for_not_ready(path: Path | None) -> None:
    with server(*[answers_with(503)] * 10, answers_with(200), path=path) as running:
        assert check(running.url)
        assert len(running.requests) == 13


def test_not_ready_at_the_deadline() -> None:
    with (
        server(answers_with(503)) as running,
        pytest.raises(Unhealthy, match=r"answered 503 when its 0\.5 s were over"),
    ):
        check(running.url, deadline=0.5)


@pytest.mark.parametrize("reply", [hangs, drips, stops])
def test_hanging_app_at_the_deadline(path: Path | None, reply: Reply) -> None:
    with server(reply, path=path) as running, pytest.raises(Unhealthy, match=r"gives no answer .* s were over"):
        check(running.url, deadline=0.6, timeout=0.25)


@pytest.mark.parametrize(
    "reply", [closes, sends(b"HTTP/1.1 2"), sends(b"what?\r\n\r\n"), sends(b"\xff" * 100_000)],
    ids=["closes", "torn", "no-http", "noise"],
)  # fmt: skip
def test_three_broken_answers(path: Path | None, reply: Reply) -> None:
    with server(reply, path=path) as running:
        with pytest.raises(Unhealthy, match=r"(without an answer|no HTTP), 3 times"):
            check(running.url, deadline=30)
        assert len(running.requests) == 3


def test_server_never_listens(tmp_path: Path) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/", f"unix:{tmp_path}/never:/"):
        with pytest.raises(Unhealthy, match=r"does not listen when its 0\.3 s were over"):
            check(url, deadline=0.3)


def test_unusable_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unhealthy, match=r"cannot be reached \(Not a directory\)"):
        check(f"unix:{tmp_path}/file/s:/", deadline=0.2)


def test_server_listens_late(tmp_path: Path) -> None:
    path = tmp_path / "s"
    late = Server((answers_with(200),), tmp_path / "t")
    renamed = threading.Timer(0.4, (tmp_path / "t").rename, [path])
    renamed.start()
    with late.running():
        assert check(f"unix:{path}:/healthz")
    renamed.join()


def dying(*later: tuple[str, ...]) -> Callable[[], tuple[str, ...]]:
    """Return the processes of a service that change after the first check."""
    answers = [RUNS, *later]
    return lambda: answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.mark.parametrize("now", [(), ("shop: 18",), ("MainPID=0", "NRestarts=0"), ("MainPID=17", "NRestarts=1")])
@pytest.mark.parametrize("reply", [hangs, answers_with(503)], ids=["silent", "503"])
@pytest.mark.usefixtures("attentive")
def test_ended_service_before_the_deadline(reply: Reply, now: tuple[str, ...]) -> None:
    with server(reply) as running, pytest.raises(Unhealthy, match="the service ended by itself"):
        check(running.url, dying(now), deadline=30, timeout=100)


def test_service_without_processes() -> None:
    with pytest.raises(Unhealthy, match="the service ended by itself"):
        check(f"http://127.0.0.1:{free_port()}/", lambda: ("shop:",), deadline=30)
