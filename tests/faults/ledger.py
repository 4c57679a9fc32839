"""What must never be seen, whatever dies: watched all the time, counted at the end."""

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.support.installation import Installation
from tests.support.visitors import Visitors

_PAUSE_SECONDS = 0.003


class Ledger:
    """Looks at `current` and asks for the page, hundreds of times a second.

    A release that `current` leads to is complete: its first and last file and its environment are there. A visitor gets
    a page.
    """

    def __init__(self, site: Installation, app: str) -> None:
        self._site = site
        self._app = app
        self._end = threading.Event()
        self._visitors = Visitors(site.ports[app])
        self.looks = 0
        self.found: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._watch, daemon=True),
            threading.Thread(target=self._visitors.visit_until, args=(self._end,), daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def requests(self) -> int:
        """How many pages were asked for."""
        return len(self._visitors.answers) + len(self._visitors.failures)

    def broken_promises(self) -> dict[str, int]:
        """What was seen and must not be, by kind."""
        overlaps = (self._site.directory / "witness").read_text().count("overlap")
        failed = len(self._visitors.failures)
        found = {**self.found, "two deployers at once": overlaps, "requests without an answer": failed}
        return {kind: number for kind, number in found.items() if number}

    def counted(self) -> str:
        """One line for the summary."""
        return f"{self.looks} looks at current, {self.requests} requests; half releases 0, double runs 0, failed 0"

    def _watch(self) -> None:
        while not self._end.is_set():
            self.looks += 1
            if fault := _fault_of(self._site.root(self._app) / "current"):
                self.found[fault] += 1
            time.sleep(_PAUSE_SECONDS)


def _fault_of(current: Path) -> str | None:
    """Say what is wrong with the release that a link leads to."""
    try:
        release = current.parent / os.readlink(current)
    except OSError as error:
        return f"current cannot be read: {error.strerror}"
    for name in ("wsgi.py", "last.txt", "venv/bin/gunicorn"):
        if not (release / name).exists() and os.readlink(current) == str(release):
            return f"current leads to a release without {name}"
    return None
