"""Asks a page over TCP or a unix socket for its status and nothing more; one deadline for the whole question."""

import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LARGEST_HEAD: Final = 65_536
_HEAD: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_UNIX_URL: Final = re.compile(r"unix:(/[^:]+):(/.*)")
_TCP_URL: Final = re.compile(r"http://(\[[^\]]+\]|[^:/]+)(?::(\d+))?(/.*)?")


class NoAnswer(Exception):
    """The page gave no status; the text completes "it …"."""


@dataclass(frozen=True)
class Address:
    """Where something listens: a unix socket, or a host and a port."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 80

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Read `unix:/path` or `HOST:PORT`."""
    if text.startswith("unix:"):
        return Address(Path(text.removeprefix("unix:")))
    host, _, port = text.rpartition(":")
    return Address(host=host.strip("[]"), port=int(port))


def address_and_page(url: str) -> tuple[Address, str]:
    """Take an app's health URL apart; raises ValueError for one that the catalogue would not take."""
    if unix := _UNIX_URL.fullmatch(url):
        return Address(Path(unix[1])), unix[2]
    tcp = _TCP_URL.fullmatch(url)
    if tcp is None:
        raise ValueError(f"not a health URL: {url}")
    return Address(host=tcp[1].strip("[]"), port=int(tcp[2] or 80)), tcp[3] or "/"


def status_of(address: Address, page: str, host: str, seconds: float) -> int:
    """GET a page and return its status, in `seconds` at most; raises NoAnswer."""
    end = time.monotonic() + seconds
    try:
        with _connected(address, seconds) as sock:
            sock.sendall(
                f"GET {page} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hookd-doctor\r\nConnection: close\r\n\r\n".encode()
            )
            return _read_status(sock, end)
    except TimeoutError:
        raise NoAnswer(f"gives no answer for {seconds:g} s") from None
    except (ConnectionRefusedError, FileNotFoundError):
        raise NoAnswer("does not listen") from None
    except PermissionError:
        raise
    except OSError as error:
        raise NoAnswer(f"cannot be reached ({error.strerror or error})") from None


def _connected(address: Address, seconds: float) -> socket.socket:
    if address.path is None:
        return socket.create_connection((address.host, address.port), seconds)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(seconds)
    try:
        sock.connect(str(address.path))
    except OSError:
        sock.close()
        raise
    return sock


def _read_status(sock: socket.socket, end: float) -> int:
    """Read no further than the first line, and not beyond `end` from a server that drips."""
    head = b""
    while b"\n" not in head and len(head) < _LARGEST_HEAD:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        more = sock.recv(_LARGEST_HEAD)
        if not more:
            break
        head += more
    found = _HEAD.match(head)
    if found is None:
        raise NoAnswer("closes the connection without an answer" if not head else "answers something that is no HTTP")
    return int(found[1])
