"""Visitors of the demo's app: they request its page all the time and count failures."""

import http.client
import re
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

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


class Visitors:
    """Requests from a thread during the block."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._visit, name="visitors", daemon=True)
        self.stats = VisitorStats()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def _visit(self) -> None:
        while not self._leave.wait(_PAUSE_SECONDS):
            started = time.monotonic()
            try:
                version = fetch_version(self._port)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.stats.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.stats.versions[version] = self.stats.versions.get(version, 0) + 1
            self.stats.slowest = max(self.stats.slowest, time.monotonic() - started)


def fetch_version(port: int) -> str:
    """Request the page and return its version. Raises ValueError for any other answer."""
    with closing(open_connection(Address(port=port), _TIMEOUT_SECONDS)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        found = _VERSION.search(response.read())
        if response.status != 200 or found is None:
            raise ValueError(f"answered {response.status}")
        return found[1].decode()
