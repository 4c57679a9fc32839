"""Asks a release whether it is well, over HTTP on TCP or a unix socket, until it is, or until it clearly is not."""

import http.client
import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hookd.model.app import Health
from worker.errors import Unhealthy

Note = Callable[[str], None]
# Names the processes of the service as they are now; two different answers mean that it died in between.
Processes = Callable[[], tuple[str, ...]]

_PAUSE_SECONDS: Final = 0.05
_CHECK_SECONDS: Final = 1.0
# A process id; systemd writes MainPID=0 for none, circus nothing at all.
_PROCESS: Final = re.compile(r"[1-9]")
_NOT_READY: Final = 503
# A wrong answer, or a connection closed without one, may be a hiccup of a start; three are not.
_MAX_WRONG: Final = 3
_LARGEST_HEAD: Final = 65_536
_HEAD: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b.*?\r?\n\r?\n", re.DOTALL)
_UNIX: Final = re.compile(r"unix:(/[^:]+):(/.*)")
_TCP: Final = re.compile(r"http://(\[[^\]]+\]|[^:/]+)(?::(\d+))?(/.*)?")


@dataclass(frozen=True)
class _ProbeResult:
    """What one question found; `wrong` tells that the app itself misbehaved, not that it was not there yet."""

    well: bool
    wrong: bool
    what: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def wait_until_healthy(health: Health, colour: str | None, note: Note, processes: Processes) -> None:
    """Wait for as many healthy answers in a row as the app's config asks for, and for as long as it wants them.

    Visitors do not wait for this: the release takes requests meanwhile, and with two colours the old one, too.
    Raises Unhealthy when the deadline passes first, when the app answers wrongly three times with no good answer in
    between, or when its process dies. A 503 means "not ready yet" and only counts at the deadline.
    """
    url = health.url.replace("{colour}", colour or "")
    watch, streak = _ProcessWatch(processes), _Streak()
    end = time.monotonic() + health.deadline
    seen = _ProbeResult(False, False, "nothing was tried")
    while time.monotonic() < end or streak.well:
        seen = _probe(url, health, min(health.timeout, max(0.1, end - time.monotonic())), watch)
        streak.add(seen)
        if streak.well == 1:
            watch.look(at_once=True)  # From now on it must be this process that answers.
        if streak.is_enough(health):
            watch.look(at_once=True)  # A release may end as soon as it is ready.
            note(f"{url} {seen.what}, {streak.well} times in a row")
            return
        if streak.wrong >= _MAX_WRONG:
            raise Unhealthy(f"{url} {seen.what}, {streak.wrong} times")
        watch.look()
        time.sleep(_PAUSE_SECONDS)
    raise Unhealthy(f"{url} {seen.what} when its {health.deadline:g} s were over")


class _Streak:
    """How many good answers came in a row and since when, or how many wrong ones with no good one in between."""

    def __init__(self) -> None:
        self.well = self.wrong = 0
        self._since = 0.0

    def add(self, seen: _ProbeResult) -> None:
        """Count an answer."""
        if seen.well and not self.well:
            self._since = time.monotonic()
        self.well = self.well + 1 if seen.well else 0
        self.wrong = 0 if seen.well else self.wrong + seen.wrong

    def is_enough(self, health: Health) -> bool:
        """Tell whether a release has been well often enough, and long enough."""
        return self.well >= health.successes and time.monotonic() - self._since >= health.steady


class _ProcessWatch:
    """Notices that a service died: a socket that the process manager holds stays open and silent then."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._first: tuple[str, ...] | None = None
        self._next = time.monotonic() + _CHECK_SECONDS

    def look(self, *, at_once: bool = False) -> None:
        """Look at most once a second, or at once; raises Unhealthy when there is no process, or another than before."""
        if time.monotonic() < self._next and not at_once:
            return
        self._next = time.monotonic() + _CHECK_SECONDS
        now = self._processes()
        self._first = self._first or now
        if now != self._first or not any(_PROCESS.search(line) for line in now):
            raise Unhealthy("the service ended by itself; its own log says why")


def _probe(url: str, health: Health, timeout: float, watch: _ProcessWatch) -> _ProbeResult:
    connection, path = _connection(url, timeout)
    try:
        connection.request(
            "GET", path, headers={"Host": health.host, "User-Agent": "hookd-health", "Connection": "close"}
        )
        status = _status(connection.sock, time.monotonic() + timeout, watch)
    except TimeoutError:
        return _ProbeResult(False, False, f"gave no answer for {timeout:.2g} s")
    except (ConnectionRefusedError, FileNotFoundError):
        return _ProbeResult(False, False, "does not listen")
    except ConnectionError:
        return _ProbeResult(False, True, "closed the connection without an answer")
    except OSError as error:
        return _ProbeResult(False, False, f"cannot be reached ({error.strerror or error})")
    finally:
        connection.close()
    well = status == health.status
    return _ProbeResult(well, not well and status != _NOT_READY, f"answered {status}")


def _status(sock: socket.socket, end: float, watch: _ProcessWatch) -> int:
    """Read the head of an answer and return its status.

    Not http.client's reading: that waits anew for each byte, so an app that drips would never reach the deadline.
    Raises TimeoutError, and ConnectionError for what ends early or is no HTTP.
    """
    head = b""
    while (found := _HEAD.match(head)) is None:
        _wait_readable(sock, end, watch)
        more = sock.recv(_LARGEST_HEAD)
        head += more
        if not more or len(head) > _LARGEST_HEAD:
            raise ConnectionAbortedError
    return int(found[1])


def _wait_readable(sock: socket.socket, end: float, watch: _ProcessWatch) -> None:
    """Wait until there is something to read, keeping an eye on the process that should write it."""
    while time.monotonic() < end:
        if select.select([sock], [], [], min(_CHECK_SECONDS, max(0.0, end - time.monotonic())))[0]:
            return
        watch.look()
    raise TimeoutError


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    if unix := _UNIX.fullmatch(url):
        return _UnixConnection(unix[1], timeout), unix[2]
    tcp = _TCP.fullmatch(url)
    if tcp is None:
        raise ValueError(f"not a health URL: {url}")
    return http.client.HTTPConnection(tcp[1].strip("[]"), int(tcp[2] or 80), timeout=timeout), tcp[3] or "/"
