"""The HTTP probe against real sockets: statuses, broken answers and silent servers."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hookd.http_probe import Address, BadAnswer, NoAnswer, Silence, parse_address, parse_health_url, request_status

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Handler = Callable[[socket.socket], None]


@contextmanager
def server(answer: Handler, path: Path | None = None) -> Iterator[Address]:
    """Answer each connection on a unix socket, or on TCP without a path."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as listener:
        listener.bind(str(path) if path else ("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, answer))
        thread.start()
        try:
            yield Address(path) if path else Address(port=listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def serve(listener: socket.socket, answer: Handler) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                answer(connection)
            except (BrokenPipeError, ConnectionResetError):
                continue


def sends(data: bytes) -> Handler:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(data)

    return answer


@pytest.fixture(params=["tcp", "unix"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "s" if request.param == "unix" else None


@pytest.mark.parametrize("status", [200, 301, 404, 502])
def test_status_is_read(path: Path | None, status: int) -> None:
    with server(sends(OK.replace(b"200 OK", str(status).encode())), path) as address:
        assert request_status(address, "/healthz", "localhost", 5) == status


def test_request_names_page_and_host(path: Path | None) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(OK)

    with server(answer, path) as address:
        request_status(address, "/healthz?deep=1", "shop.example.org", 5)
    first, *headers = asked[0].decode().split("\r\n")
    assert first == "GET /healthz?deep=1 HTTP/1.1"
    assert {"Host: shop.example.org", "Connection: close"} < set(headers)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "closes the connection"),
        (b"HTTP/1.1 200 OK\r\n", "closes the connection"),
        (b"SSH-2.0-x\r\n", "no HTTP"),
        (b"x" * 70_000, "no HTTP"),
    ],
)
def test_broken_answers(path: Path | None, data: bytes, text: str) -> None:
    with server(sends(data), path) as address, pytest.raises(BadAnswer, match=text):
        request_status(address, "/", "x", 5)


def test_nothing_listens(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match=r"^does not listen$"):
        request_status(Address(tmp_path / "none"), "/", "x", 5)
    (tmp_path / "dead").touch()
    with pytest.raises(NoAnswer, match=r"^does not listen$"):
        request_status(Address(tmp_path / "dead"), "/", "x", 5)


def test_unreachable_socket_path(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match=r"^cannot be reached"):
        request_status(Address(tmp_path / ("x" * 200)), "/", "x", 5)


def drip(connection: socket.socket) -> None:
    """Send a head that never ends, faster than any single wait."""
    for byte in (OK * 100).replace(b"\n", b" "):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def stop_in_the_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    fall_silent(connection)


def fall_silent(connection: socket.socket) -> None:
    connection.settimeout(10)
    while connection.recv(65_536):
        continue


@pytest.mark.parametrize("answer", [drip, stop_in_the_head, fall_silent])
def test_deadline_holds(path: Path | None, answer: Handler) -> None:
    with server(answer, path) as address, pytest.raises(Silence, match=r"^gives no answer for 0.3 s$"):
        request_status(address, "/", "x", 0.3)


@pytest.mark.threat(91)
def test_full_queue_is_silence(path: Path | None) -> None:
    """A stopped process takes no connections from its socket, and visitors fill the queue."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as listener, ExitStack() as visitors:
        listener.bind(str(path) if path else ("127.0.0.1", 0))
        listener.listen(1)
        for _ in range(5):
            visitor = visitors.enter_context(socket.socket(listener.family))
            visitor.setblocking(False)
            visitor.connect_ex(listener.getsockname())
        address = Address(path) if path else Address(port=listener.getsockname()[1])
        with pytest.raises(Silence, match=r"^(takes no more connections|gives no answer for 0.3 s)$"):
            request_status(address, "/", "x", 0.3)


def test_caller_can_stop_the_wait(path: Path | None) -> None:
    """`on_wait` may raise, so a health check ends when the process is gone."""

    def give_up() -> None:
        raise LookupError("the process ended")

    with server(fall_silent, path) as address, pytest.raises(LookupError):
        request_status(address, "/", "x", 60, on_wait=give_up)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/hookd/web.sock", Address(Path("/run/hookd/web.sock"))),
        ("127.0.0.1:8787", Address(host="127.0.0.1", port=8787)),
        ("[::1]:8787", Address(host="::1", port=8787)),
        (":8787", Address(host="127.0.0.1", port=8787)),
    ],
)
def test_address_forms(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("url", "address", "page"),
    [
        ("unix:/run/shop.sock:/healthz", Address(Path("/run/shop.sock")), "/healthz"),
        ("http://127.0.0.1:8000/healthz?deep=1", Address(port=8000), "/healthz?deep=1"),
        ("http://shop.internal", Address(host="shop.internal", port=80), "/"),
        ("http://[::1]:8000/", Address(host="::1", port=8000), "/"),
    ],
)
def test_health_urls(url: str, address: Address, page: str) -> None:
    assert parse_health_url(url) == (address, page)


def test_other_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="not a health URL"):
        parse_health_url("https://shop.example.org/")
