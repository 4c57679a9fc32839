"""The three connections with a Redis that is away, hung or restarting."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from hookd.queue.client import RECEIVER_SECONDS, WORKER_RETRIES, cli_client, receiver_client, worker_client

NOWHERE = "unix:///nowhere/redis.sock?db=3"


class Server:
    """A server on a unix socket with the test's answers, which counts its clients."""

    def __init__(self, path: Path, answers: Callable[[int], bytes | None]) -> None:
        self.url = f"unix://{path}?db=0"
        self.callers = 0
        self._answers = answers
        self._open: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.callers += 1
            self._open.append(caller)
            answer = self._answers(self.callers)
            if answer == b"":
                caller.recv(4096)  # Gone before it was asked anything, it would be noticed earlier, and not every time.
                caller.close()
            elif answer is not None:
                caller.recv(4096)
                caller.sendall(answer)
                threading.Thread(target=self._go_on, args=(caller,), daemon=True).start()

    @staticmethod
    def _go_on(caller: socket.socket) -> None:
        try:
            while caller.recv(4096):
                caller.sendall(b"+PONG\r\n")
        except OSError:
            return

    @contextmanager
    def running(self) -> Iterator["Server"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._thread.join(10)
            for caller in self._open:
                caller.close()


def options(client: Redis) -> dict[str, object]:
    found: dict[str, object] = client.connection_pool.connection_kwargs
    return found


@pytest.mark.parametrize("connect", [receiver_client, cli_client])
def test_missing_redis_fails_at_once(connect: Callable[[str], Redis]) -> None:
    with connect(NOWHERE) as client, pytest.raises(ConnectionError):
        client.ping()


@pytest.mark.parametrize("connect", [receiver_client, cli_client, worker_client])
def test_url_names_the_database(connect: Callable[[str], Redis]) -> None:
    assert options(connect(NOWHERE))["db"] == 3


def test_receiver_tries_once(tmp_path: Path) -> None:
    with Server(tmp_path / "s", lambda _: None).running() as server, receiver_client(server.url) as client:
        with pytest.raises(TimeoutError):
            client.ping()
        assert server.callers == 1


def test_receiver_connects_once(tmp_path: Path) -> None:
    with Server(tmp_path / "s", lambda _: b"").running() as server, receiver_client(server.url) as client:
        with pytest.raises(ConnectionError):
            client.ping()
        assert server.callers == 1


def test_receiver_timeouts_fit_two_seconds() -> None:
    found = options(receiver_client(NOWHERE))
    assert found["socket_timeout"] == found["socket_connect_timeout"] == RECEIVER_SECONDS
    assert 2 * RECEIVER_SECONDS <= 2.0


@pytest.mark.threat(52)
def test_worker_retries_until_an_answer(tmp_path: Path) -> None:
    server = Server(tmp_path / "s", lambda caller: b"" if caller < 3 else b"+PONG\r\n")
    with server.running(), worker_client(server.url, protocol=2, driver_info=None) as client:
        assert client.ping()
        assert server.callers == 3


@pytest.mark.threat(52)
def test_worker_waits_for_loading(tmp_path: Path) -> None:
    server = Server(tmp_path / "s", lambda caller: b"-LOADING Redis is loading\r\n" if caller == 1 else b"+PONG\r\n")
    with server.running(), worker_client(server.url, protocol=2, driver_info=None) as client:
        assert client.ping()


def test_worker_retries_end() -> None:
    backoff = ExponentialBackoff(cap=5, base=0.2)
    seconds = sum(backoff.compute(failure) for failure in range(1, WORKER_RETRIES + 1))
    assert 60 < seconds < 180
    retry = options(worker_client(NOWHERE))["retry"]
    assert retry.get_retries() == WORKER_RETRIES  # type: ignore[attr-defined]


def test_worker_retries_every_absence() -> None:
    assert options(worker_client(NOWHERE))["retry_on_error"] == [
        ConnectionError,
        TimeoutError,
        BusyLoadingError,
    ]
