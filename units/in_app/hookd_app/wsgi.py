"""A health request to a WSGI app in its own process."""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, Iterator, Mapping
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

# Packages whose workers switch between requests by themselves, and have timeouts of their own.
_SWITCHING = {"gunicorn.workers.ggevent": "gevent", "gunicorn.workers.geventlet": "eventlet"}


# Stands for the status of a page that did not answer in time.
NO_ANSWER = ""


class HealthTimeout(BaseException):
    """The health page took too long. Not an Exception, because apps catch those."""


def check(worker: Any, request: tuple[str, str, Mapping[str, str]], seconds: int, raised: list[BaseException]) -> str:
    """Return the page's status: 500 if it raises, which `raised` takes, NO_ANSWER after `seconds`."""
    try:
        with _limit(worker, seconds):
            return _request_status(worker.wsgi, _environ(*request))
    except HealthTimeout:
        return NO_ANSWER
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raised.append(error)
        return "500"


@contextmanager
def _limit(worker: Any, seconds: int) -> Iterator[None]:
    """Raise HealthTimeout in the block after some seconds."""
    previous = signal.signal(signal.SIGALRM, raise_timeout)
    # Again each second, because an app may swallow the exception.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        with _own_limit(worker, max(0.1, seconds - 0.5)):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _own_limit(worker: Any, seconds: float) -> Any:
    """Return the timeout of a worker's package, because a signal cannot interrupt what waits for an event there."""
    for kind in type(worker).__mro__:
        if kind.__module__ in _SWITCHING:
            return import_module(_SWITCHING[kind.__module__]).Timeout(seconds, HealthTimeout)
    return nullcontext()


def raise_timeout(_signal: int, _frame: object) -> None:
    raise HealthTimeout


def _request_status(wsgi: Any, environ: dict[str, Any]) -> str:
    """Call the WSGI app as gunicorn does, and return its status."""
    answer: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        answer.append(status)
        return lambda data: None

    body = wsgi(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer[-1].split(" ", 1)[0] if answer else "nothing"


def _environ(path: str, query: str, headers: Mapping[str, str]) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{path}?{query}" if query else path,
        "SERVER_NAME": "localhost",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "hookd-health",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": headers["X-Forwarded-Proto"],
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": True,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    setup_testing_defaults(environ)  # The keys that PEP 3333 demands besides.
    return environ
