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
# The first and the last file that a checkout writes, what the build leaves, and what starts the app.
_WHOLE = ("wsgi.py", "last.txt", "requirements.txt", "venv/bin/gunicorn")


class Monitor:
    """Looks at `current` and asks for the page, hundreds of times a second.

    A release that `current` leads to is complete: its files and its environment are there. A visitor gets a page.
    """

    def __init__(self, host: FaultHost) -> None:
        self._keeper = host
        self._pushed = host.versions
        self._current = host.site.root(APP) / "current"
        self._book = host.book
        self._before = host.book.stat().st_size
        self._end = threading.Event()
        self._visitors = Visitors(host.site.ports[APP])
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

    def broken_promises(self) -> dict[str, int]:
        """Return the number of violations by kind."""
        found = {
            **self.found,
            "two deployers at once": self._builds().count("overlap"),
            **Counter(f"a visitor got {failure}" for failure in self._visitors.failures),
        }
        return {kind: number for kind, number in found.items() if number}

    def counted(self, what: str) -> str:
        """One line for the summary. A test that came so far has seen the newest version serve."""
        builds, failed = Counter(self._builds()), len(self._visitors.failures)
        return (
            f"{self._keeper.handover}, {what}: {self._keeper.versions - self._pushed} pushes, lost 0; "
            f"{builds['build']} builds, double runs {builds['overlap']}; "
            f"{self.looks} looks at current, half releases {self.found.total()}; "
            f"{len(self._visitors.answers) + failed} requests, failed {failed}"
        )

    def _builds(self) -> list[str]:
        with self._book.open() as book:
            book.seek(self._before)
            return book.read().split()

    def _watch(self) -> None:
        while not self._end.is_set():
            self.looks += 1
            if fault := fault_of(self._current):
                self.found[fault] += 1
            time.sleep(_PAUSE_SECONDS)


def fault_of(current: Path) -> str | None:
    """Say what is wrong with the release that a link leads to, unless it leads elsewhere meanwhile."""
    try:
        leads = os.readlink(current)
        missing = [name for name in _WHOLE if not (current.parent / leads / name).exists()]
        if missing and os.readlink(current) == leads:
            return f"current leads to a release without {', '.join(missing)}"
    except OSError as error:
        return f"current cannot be read: {error.strerror}"
    return None
