"""The invariants of each fault test, watched all the time and counted at the end."""

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.faults.host import APP, FaultHost
from tests.support.visitors import Visitors

_PAUSE_SECONDS = 0.003
# The first and the last file of a checkout, a file of the build, and the app's program.
_REQUIRED = ("wsgi.py", "last.txt", "requirements.txt", "venv/bin/gunicorn")


class Monitor:
    """Checks `current` and requests the page, hundreds of times a second.

    The release behind `current` must be complete, with its files and environment. Each visitor must get a page.
    """

    def __init__(self, host: FaultHost) -> None:
        self._host = host
        self._pushed = host.versions
        self._current = host.site.root(APP) / "current"
        self._book = host.book
        self._before = host.book.stat().st_size
        self._end = threading.Event()
        self._visitors = Visitors(host.site.ports[APP])
        self.checks = 0
        self.faults: Counter[str] = Counter()
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

    def violations(self) -> dict[str, int]:
        """Return the number of violations by kind."""
        violations = {
            **self.faults,
            "two deployers at once": self._builds().count("overlap"),
            **Counter(f"a visitor got {failure}" for failure in self._visitors.failures),
        }
        return {kind: number for kind, number in violations.items() if number}

    def summary(self, what: str) -> str:
        """Return a line for the summary. Every push is live at this point."""
        builds, failed = Counter(self._builds()), len(self._visitors.failures)
        return (
            f"{self._host.handover}, {what}: {self._host.versions - self._pushed} pushes, lost 0; "
            f"{builds['build']} builds, double runs {builds['overlap']}; "
            f"{self.checks} checks of current, half releases {self.faults.total()}; "
            f"{len(self._visitors.answers) + failed} requests, failed {failed}"
        )

    def _builds(self) -> list[str]:
        with self._book.open() as book:
            book.seek(self._before)
            return book.read().split()

    def _watch(self) -> None:
        while not self._end.is_set():
            self.checks += 1
            if fault := current_fault(self._current):
                self.faults[fault] += 1
            time.sleep(_PAUSE_SECONDS)


def current_fault(current: Path) -> str | None:
    """Return the fault of the linked release, unless the link has changed meanwhile."""
    try:
        target = os.readlink(current)
        missing = [name for name in _REQUIRED if not (current.parent / target / name).exists()]
        if missing and os.readlink(current) == target:
            return f"current leads to a release without {', '.join(missing)}"
    except OSError as error:
        return f"current cannot be read: {error.strerror}"
    return None
