"""HTTP requests to local services: addresses, connections over TCP or a unix socket, and one page's status."""

import http.client
import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAX_HEAD_BYTES: Final = 65_536
_WAIT_SECONDS: Final = 0.1
_HEAD: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b.*?\n\r?\n", re.DOTALL)
# As nginx asks for an https site, because an app may answer every other request with a redirect.
_HEADERS: Final = {
    "User-Agent": "hookd",
    "Connection": "close",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Proto": "https",
}
_UNIX_URL: Final = re.compile(r"unix:(/[^:]+):(/.*)")
_TCP_URL: Final = re.compile(r"http://(\[[^\]]+\]|[^:/]+)(?::(\d+))?(/.*)?")


class NoAnswer(Exception):
    """The service sent no status. The text follows the name of the service: "does not listen"."""


class BadAnswer(NoAnswer):
    """The service accepted the connection and closed it early, or does not speak HTTP."""


class Silence(NoAnswer):
    """The service listens, and sent no status in time."""


@dataclass(frozen=True)
class Address:
    """A listening unix socket, or a host and a port."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 80

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse `unix:/path` or `HOST:PORT`. An empty host is this machine."""
    if text.startswith("unix:"):
        return Address(Path(text.removeprefix("unix:")))
    host, _, port = text.rpartition(":")
    return Address(host=host.strip("[]") or "127.0.0.1", port=int(port))


def parse_health_url(url: str) -> tuple[Address, str]:
    """Split an app's health URL into its address and page. Raises ValueError for any other URL."""
    if unix := _UNIX_URL.fullmatch(url):
        return Address(Path(unix[1])), unix[2]
    tcp = _TCP_URL.fullmatch(url)
    if tcp is None:
        raise ValueError(f"not a health URL: {url}")
    return Address(host=tcp[1].strip("[]"), port=int(tcp[2] or 80)), tcp[3] or "/"


def with_page(url: str, page: str) -> str:
    """Return a health URL with another page at the same address."""
    match = _UNIX_URL.fullmatch(url) or _TCP_URL.fullmatch(url)
    if match is None:
        return page
    return f"unix:{match[1]}:{page}" if url.startswith("unix:") else f"{url.removesuffix(match[3] or '')}{page}"


def open_connection(address: Address, seconds: float) -> http.client.HTTPConnection:
    """Connect. Each later read waits `seconds` at most. Raises OSError."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
    if address.path is None:
        connection.connect()
        return connection
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(seconds)
        connection.sock.connect(str(address.path))
    except OSError:
        connection.close()
        raise
    return connection


def request_status(
    address: Address, page: str, host: str, seconds: float, on_wait: Callable[[], None] = lambda: None
) -> int:
    """Request a page and return its status within `seconds`.

    Calls `on_wait` every 0.1 s while the service is silent. Raises NoAnswer, and PermissionError when the socket's
    mode forbids the connection.
    """
    end = time.monotonic() + seconds
    try:
        with closing(open_connection(address, seconds)) as connection:
            connection.request("GET", page, headers={"Host": host, **_HEADERS})
            return _read_status(connection.sock, end, on_wait)
    except TimeoutError:
        raise Silence(f"gives no answer for {seconds:.2g} s") from None
    except BlockingIOError:  # A unix socket. On TCP, the connection waits.
        raise Silence("takes no more connections") from None
    except (ConnectionRefusedError, FileNotFoundError):
        raise NoAnswer("does not listen") from None
    except ConnectionError:
        raise BadAnswer("closes the connection without an answer") from None
    except PermissionError:
        raise
    except OSError as error:
        raise NoAnswer(f"cannot be reached ({error.strerror or error})") from None


def _read_status(sock: socket.socket, end: float, on_wait: Callable[[], None]) -> int:
    """Read a response up to its body and return its status.

    http.client's own reader restarts its timeout with every byte, so a slow sender could pass the deadline.
    """
    head = b""
    while (found := _HEAD.match(head)) is None:
        if len(head) > _MAX_HEAD_BYTES or (b"\n" in head and not head.startswith(b"HTTP/1.")):
            raise BadAnswer("answers something that is no HTTP")
        _await_data(sock, end, on_wait)
        piece = sock.recv(_MAX_HEAD_BYTES)
        if not piece:
            raise ConnectionAbortedError
        head += piece
    return int(found[1])


def _await_data(sock: socket.socket, end: float, on_wait: Callable[[], None]) -> None:
    while (left := end - time.monotonic()) > 0:
        if select.select([sock], [], [], min(_WAIT_SECONDS, left))[0]:
            return
        on_wait()
    raise TimeoutError
