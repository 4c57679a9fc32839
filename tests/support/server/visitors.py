"""Visitors of a site at a steady rate through nginx, independent of earlier answers."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.support.processes import wait_for
from tests.support.server.web import Place

_TIMEOUT_SECONDS = 60


class Visitors:
    """The result of requests: `answers` in their order, `failures` of any kind, and the `slowest` answer in seconds."""

    def __init__(self, place: Place, host: str, path: str, per_second: int, port: int) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self.seconds: list[float] = []
        self._place = place
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self._pause = 1 / per_second
        self._address = ("127.0.0.1", port)

    @property
    def pages(self) -> set[str]:
        """The different answers."""
        return set(self.answers)

    @property
    def number(self) -> int:
        """The number of finished requests, failed ones too."""
        return len(self.answers) + len(self.failures)

    @property
    def slowest(self) -> float:
        """The longest wait for an answer, in seconds."""
        return max(self.seconds, default=math.nan)

    def wait_for_more(self, number: int = 20) -> None:
        """Wait until some more requests are finished."""
        enough = self.number + number
        wait_for(lambda: self.number >= enough, what="visitors")

    def run_until(self, end: Event) -> None:
        """Send requests at the rate until the end, and wait for the last answers."""
        asyncio.run(self._run_until(end))

    async def _run_until(self, end: Event) -> None:
        start, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while not end.is_set():
                group.create_task(self._visit())
                number += 1
                await asyncio.sleep(start + number * self._pause - time.monotonic())

    async def _visit(self) -> None:
        start = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                self.answers.append(_page(await self._answer()))
        except (OSError, ValueError) as error:
            self.failures.append(f"after {time.monotonic() - start:.2f} s: {error!r}")
        self.seconds.append(time.monotonic() - start)

    async def _answer(self) -> bytes:
        with self._place.socket() as connection:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, self._address)
            await loop.sock_sendall(connection, self._request)
            answer = b""
            while chunk := await loop.sock_recv(connection, 65536):
                answer += chunk
            return answer


@contextmanager
def visitors(place: Place, host: str, path: str = "/", per_second: int = 100, port: int = 80) -> Iterator[Visitors]:
    """Send visitors from before the block's start until after its end."""
    crowd, end = Visitors(place, host, path, per_second, port), Event()
    thread = Thread(target=crowd.run_until, args=(end,))
    thread.start()
    try:
        crowd.wait_for_more()
        yield crowd
        crowd.wait_for_more()
    finally:
        end.set()
        thread.join()


def _page(answer: bytes) -> str:
    """Return the text of a complete page, or raise ValueError."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status.split(" ")[1:2] != ["200"]:
        raise ValueError(f"{status or 'nothing'}: {body[:200]!r}")
    if headers.get("transfer-encoding") == "chunked":
        return _joined(body)
    if len(body) != int(headers.get("content-length", len(body))):
        raise ValueError(f"the page ends after {len(body)} of {headers['content-length']} bytes")
    return body.decode()


def _joined(body: bytes) -> str:
    page = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        length = int(size, 16) if separator else -1
        if length == 0:
            return page.decode()
        if length < 0 or len(body) < length + 2:
            raise ValueError("the page ends before its last chunk")
        page, body = page + body[:length], body[length + 2 :]
