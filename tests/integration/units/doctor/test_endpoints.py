"""Probes of real sockets: every one ends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from units.system.http import Address, NoAnswer, status_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Handler = Callable[[socket.socket], None]


@contextmanager
def server(path: Path, answer: Handler) -> Iterator[Address]:
    """A unix socket with the given answer to each connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, answer))
        thread.start()
        try:
            yield Address(path)
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


def says(data: bytes) -> Handler:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(data)

    return answer


@pytest.mark.parametrize("status", [200, 301, 404, 502])
def test_status_is_returned(tmp_path: Path, status: int) -> None:
    with server(tmp_path / "s", says(OK.replace(b"200 OK", str(status).encode()))) as address:
        assert status_of(address, "/healthz", "localhost", 5) == status


def test_request_names_page_and_host(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(OK)

    with server(tmp_path / "s", answer) as address:
        status_of(address, "/healthz?deep=1", "shop.example.org", 5)
    assert asked[0].startswith(b"GET /healthz?deep=1 HTTP/1.1\r\nHost: shop.example.org\r\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "closes the connection"), (b"SSH-2.0-x\r\n", "no HTTP"), (b"x" * 70_000, "no HTTP")],
)
def test_invalid_answer_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with server(tmp_path / "s", says(data)) as address, pytest.raises(NoAnswer, match=message):
        status_of(address, "/", "x", 5)


def test_closed_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="does not listen"):
        status_of(Address(tmp_path / "none"), "/", "x", 5)
    (tmp_path / "dead").touch()
    with pytest.raises(NoAnswer, match="does not listen"):
        status_of(Address(tmp_path / "dead"), "/", "x", 5)


def drip(connection: socket.socket) -> None:
    for byte in OK * 100:
        connection.sendall(bytes([byte]).replace(b"\n", b" "))
        time.sleep(0.05)


def fall_silent(connection: socket.socket) -> None:
    connection.settimeout(10)
    while connection.recv(65_536):
        continue


@pytest.mark.parametrize("answer", [drip, fall_silent])
def test_slow_server_hits_the_deadline(tmp_path: Path, answer: Handler) -> None:
    with server(tmp_path / "s", answer) as address, pytest.raises(NoAnswer, match=r"gives no answer for 0.3 s"):
        status_of(address, "/", "x", 0.3)
