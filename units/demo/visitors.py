"""Visitors of the demo's app: they request its page all the time and count failures."""

import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from hookd.http_probe import Address, open_connection

_PAUSE_SECONDS: Final = 0.01
_TIMEOUT_SECONDS: Final = 30
_VERSION: Final = re.compile(rb"version (\w+)")


@dataclass
class VisitorStats:
    """Answers per version, failures, and the longest wait in seconds."""

    versions: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


@contextmanager
def visiting(port: int) -> Iterator[VisitorStats]:
    """Request the app's page from a thread during the block, and count."""
    stats, leave = VisitorStats(), threading.Event()
    thread = threading.Thread(target=_visit, args=(port, stats, leave), daemon=True)
    thread.start()
    try:
        yield stats
    finally:
        leave.set()
        thread.join(_TIMEOUT_SECONDS)


def _visit(port: int, stats: VisitorStats, leave: threading.Event) -> None:
    while not leave.wait(_PAUSE_SECONDS):
        started = time.monotonic()
        try:
            version = fetch_version(port)
        except (OSError, http.client.HTTPException, ValueError) as error:
            stats.failures.append(f"{type(error).__name__}: {error}")
        else:
            stats.versions[version] = stats.versions.get(version, 0) + 1
        stats.slowest = max(stats.slowest, time.monotonic() - started)


def fetch_version(port: int) -> str:
    """Request the page and return its version. Raises ValueError for any other answer."""
    with closing(open_connection(Address(port=port), _TIMEOUT_SECONDS)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        found = _VERSION.search(response.read())
        if response.status != 200 or found is None:
            raise ValueError(f"answered {response.status}")
        return found[1].decode()
