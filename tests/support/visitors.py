"""People who ask an app for its page all the time, before, during and after a deployment."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.support.processes import wait_for

_PAUSE_SECONDS = 0.005
_PATIENCE_SECONDS = 60


class Visitors:
    """What the visitors of one app saw: `answers` in their order, and `failures` of any kind."""

    def __init__(self, port: int) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._port = port

    @property
    def seen(self) -> set[str]:
        """The different answers."""
        return set(self.answers)

    def wait_for_more(self, number: int = 5) -> None:
        """Wait until some more questions were answered, or failed."""
        enough = len(self.answers) + len(self.failures) + number
        wait_for(lambda: len(self.answers) + len(self.failures) >= enough, what="visitors")

    def visit_until(self, end: Event) -> None:
        """Ask again and again, with a connection of its own each time."""
        while not end.wait(_PAUSE_SECONDS):
            try:
                self.answers.append(ask(self._port))
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))


@contextmanager
def visitors(port: int, number: int = 2) -> Iterator[Visitors]:
    """Let some visitors ask for as long as the block, from before its start until after its end."""
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
    """Ask an app for one page; raises AssertionError for any status but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise AssertionError(f"{path} answered {response.status}: {text}")
        return text
    finally:
        connection.close()
