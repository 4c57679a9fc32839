"""Wait until a release answers its health check, over HTTP on TCP or on a unix socket."""

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from hookd.http_probe import BadAnswer, NoAnswer, Silence, parse_health_url, request_status
from hookd.model.tables.health import Health
from worker.errors import Unhealthy

Note = Callable[[str], None]
# Returns the current processes of the service. A changed answer means that the service ended in between.
Processes = Callable[[], tuple[str, ...]]

_PAUSE_SECONDS: Final = 0.05
# Shorter than RestartSec= of hookd's units, because systemd forgets at the next start how a process ended.
_CHECK_SECONDS: Final = 0.5
# A process id. Without a process, systemd prints MainPID=0 and circus nothing.
_PROCESS: Final = re.compile(r"[1-9]")
_NOT_READY: Final = 503
# A starting app may give one or two wrong answers, or close a connection without an answer.
_MAX_WRONG: Final = 3


class Answer(NamedTuple):
    """The result of one request.

    `is_wrong` is False while the app only is not there yet. `is_silent` means that it took the request and sent no
    answer in time, `is_unknown` that hookd may not ask.
    """

    is_healthy: bool
    is_wrong: bool
    text: str
    is_silent: bool = False
    is_unknown: bool = False


def wait_until_healthy(health: Health, colour: str | None, note: Note, processes: Processes) -> None:
    """Wait for `health.successes` healthy answers in a row over at least `health.steady` seconds.

    The release takes requests meanwhile. Raises Unhealthy if the deadline passes before the first healthy answer, after
    three wrong answers without a healthy one in between, or if the process ends. A 503 means "not ready yet" and is no
    wrong answer.
    """
    url, watch = health.url_of(colour), _ProcessWatch(processes)
    healthy, wrong, since = 0, 0, 0.0
    answer = Answer(False, False, "was not asked")
    end = time.monotonic() + health.deadline
    while time.monotonic() < end or healthy:
        answer = ask(health, colour, min(health.timeout, max(0.1, end - time.monotonic())), watch.check)
        healthy = healthy + 1 if answer.is_healthy else 0
        wrong = 0 if answer.is_healthy else wrong + answer.is_wrong
        if healthy == 1:
            since = time.monotonic()
            watch.check(at_once=True)  # All later answers must come from this process.
        if healthy >= health.successes and time.monotonic() - since >= health.steady:
            watch.check(at_once=True)  # The process may have ended right after its last answer.
            note(f"{url} {answer.text}, {healthy} times in a row")
            return
        if wrong >= _MAX_WRONG:
            raise Unhealthy(f"{url} {answer.text}, {wrong} times")
        watch.check()
        time.sleep(_PAUSE_SECONDS)
    text = f"{url} {answer.text} when its {health.deadline:g} s were over (health.deadline)"
    raise Unhealthy(text, is_silent=answer.is_silent)


class _ProcessWatch:
    """Detect that the service ended: a socket that the process manager holds then stays open and silent."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._first: tuple[str, ...] | None = None
        self._next = time.monotonic() + _CHECK_SECONDS

    def check(self, *, at_once: bool = False) -> None:
        """Raise Unhealthy if there is no process or another one than before. Checks at most twice a second."""
        if time.monotonic() < self._next and not at_once:
            return
        self._next = time.monotonic() + _CHECK_SECONDS
        now = self._processes()
        self._first = self._first or now
        if now != self._first or not any(_PROCESS.search(line) for line in now):
            raise Unhealthy("the service ended by itself; its own log says why")


def ask(health: Health, colour: str | None, timeout: float, on_wait: Callable[[], None] = lambda: None) -> Answer:
    """Request the health page once. Calls `on_wait` during the wait, and passes on what that raises."""
    address, page = parse_health_url(health.url_of(colour))
    try:
        status = request_status(address, page, health.host, timeout, on_wait)
    except NoAnswer as failure:
        return Answer(False, isinstance(failure, BadAnswer), str(failure), is_silent=isinstance(failure, Silence))
    except PermissionError as error:
        return Answer(False, False, f"cannot be reached ({error.strerror})", is_unknown=True)
    is_healthy = health.accepts(status)
    return Answer(is_healthy, not is_healthy and status != _NOT_READY, f"answered {status}")
