"""Visitors that request an app's page before, during and after a deployment."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.support.processes import wait_for

_PAUSE_SECONDS = 0.02
_TIMEOUT_SECONDS = 60


class Visitors:
    """The results of an app's visitors: `answers` in their order, and `failures` of any kind."""

    def __init__(self, port: int) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._port = port

    @property
    def pages(self) -> set[str]:
        """The different answers."""
        return set(self.answers)

    def wait_for_more(self, number: int = 5) -> None:
        """Wait until some more requests are finished."""
        enough = len(self.answers) + len(self.failures) + number
        wait_for(lambda: len(self.answers) + len(self.failures) >= enough, what="visitors")

    def visit_until(self, end: Event) -> None:
        """Send requests until the end, each over its own connection."""
        while not end.wait(_PAUSE_SECONDS):
            try:
                self.answers.append(ask(self._port))
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))


@contextmanager
def visitors(port: int, number: int = 2) -> Iterator[Visitors]:
    """Send visitors from before the block's start until after its end."""
    crowd, end = Visitors(port), Event()
    threads = [Thread(target=crowd.visit_until, args=(end,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        crowd.wait_for_more()
        yield crowd
        crowd.wait_for_more()
    finally:
        end.set()
        for thread in threads:
            thread.join()


def ask(port: int, path: str = "/") -> str:
    """Request one page of an app. Raise AssertionError for any status but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise AssertionError(f"{path} answered {response.status}: {text}")
        return text
    finally:
        connection.close()
