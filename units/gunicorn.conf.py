"""Configuration of an app's gunicorn: a worker takes requests only after its own health check.

Use it with `gunicorn --config .../gunicorn.conf.py wsgi:app`. gunicorn listens before its workers have loaded the app,
and two releases on one socket both take requests. So each first worker requests the health page from its own app, in
the process. After a bad answer gunicorn ends, and no user has seen the release. Workers that replace an ended one later
skip the check, because a database outage of a minute must not end a serving site.
"""

import atexit
import errno
import logging
import mmap
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from gunicorn.systemd import sd_notify

# The app's [health] table.
HEALTH_PATH = os.environ.get("HOOKD_HEALTH_PATH", "")
HEALTH_STATUS = os.environ.get("HOOKD_HEALTH_STATUS", "200")
HEALTH_HOST = os.environ.get("HOOKD_HEALTH_HOST", "localhost")
HEALTH_SECONDS = int(os.environ.get("HOOKD_HEALTH_SECONDS", "20"))
# The private socket for hookd's health checks, if there is one. A bad release reports its status there.
HEALTH_SOCKET = os.environ.get("HOOKD_HEALTH_SOCKET", "")
# Without systemd, the file in which the server writes why it refused its release.
REFUSAL_FILE = os.environ.get("HOOKD_REFUSAL_FILE", "")
# hookd needs three equal answers.
REPORT_TIMES, REPORT_SECONDS = 3, 5

# Shared by all workers: 1 after the first passed check.
_passed = mmap.mmap(-1, 1)
# 1 for each worker that ended by itself, by its age.
_ended = mmap.mmap(-1, 4096)
# Why a worker ended before it took requests.
_refusal = mmap.mmap(-1, 1024)
# Variables without a secret.
_OPEN_VARIABLES = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"})

# Any process of the same user could stop the server through it.
control_socket_disable = True
# Seconds for running requests at a stop. The unit must wait longer.
graceful_timeout = 30


def when_ready(server: Any) -> None:
    """Publish the release's path, and keep gunicorn from deleting the path of an inherited socket."""
    sd_notify(f"STATUS=release {Path.cwd()}", server.log)
    atexit.register(_publish_refusal, server)
    if not HEALTH_PATH:
        server.log.warning("HOOKD_HEALTH_PATH is not set: workers take requests without a health check")
    server.systemd = server.systemd or any(bind.startswith("fd://") for bind in server.cfg.bind)


def post_worker_init(worker: Any) -> None:
    """Check this worker's health before it takes requests. An exception here ends gunicorn."""
    if not HEALTH_PATH or (_passed[0] and worker.age > worker.cfg.workers):
        return
    with _noting_errors() as raised:
        status = _check_in_time(worker.wsgi, raised)
    if status == HEALTH_STATUS:
        _passed[0] = 1
        worker.log.info("%s answered %s: this worker takes requests", HEALTH_PATH, status)
        return
    _report_refusal(worker, status)
    answer = f"{HEALTH_PATH} answered {status}, not {HEALTH_STATUS}"
    worker.log.error("%s: this release takes no requests", answer)
    raise ReleaseRefused(f"{answer}: the app raised {_describe(raised[-1])}" if raised else answer)


class ReleaseRefused(Exception):
    """The health page's answer is not the expected one, so this release takes no requests."""


def worker_exit(_server: Any, worker: Any) -> None:
    """Note in a worker's own process that it ends by itself, and why it took no requests."""
    _ended[worker.age % len(_ended)] = 1
    ended = sys.exc_info()[1]
    if isinstance(ended, SystemExit) and ended.__context__ and not worker.booted:
        error = ended.__context__
        text = str(error) if isinstance(error, ReleaseRefused) else _describe(error)
        _refusal[:] = _without_values(text).encode()[: len(_refusal)].ljust(len(_refusal), b"\0")


def _publish_refusal(server: Any) -> None:
    """Publish why a worker refused the release, in the server's own process.

    gunicorn skips its hook on_exit if two workers fail at once.
    """
    if os.getpid() != server.pid:
        return
    text = _refusal[:].rstrip(b"\0").decode("utf-8", "replace")
    if text:
        sd_notify(f"STATUS=refused: {text}", server.log)
    if text and REFUSAL_FILE:
        Path(REFUSAL_FILE).write_text(text, encoding="utf-8")


def child_exit(server: Any, worker: Any) -> None:
    """Report a worker that a signal ended to systemd, because hookd blames no commit for it (EINTR)."""
    place = worker.age % len(_ended)
    if not _ended[place]:
        sd_notify(f"ERRNO={errno.EINTR}", server.log)
    _ended[place] = 0


def _describe(error: BaseException) -> str:
    """Return the name of an exception and the first line of its text."""
    text = " ".join(str(error).strip().splitlines()[:1])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_values(text: str) -> str:
    """Mask the values of the app's variables, because every user may read a service's status."""
    values = (v for k, v in os.environ.items() if k not in _OPEN_VARIABLES and not k.startswith("HOOKD_"))
    for value in sorted((value for value in values if len(value) >= 6), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


@contextmanager
def _noting_errors() -> Iterator[list[BaseException]]:
    """Note the exceptions that the app logs meanwhile, because a framework turns one into an answer."""
    raised: list[BaseException] = []
    make_record = logging.getLogRecordFactory()

    def note(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*arguments, **options)
        if record.exc_info and record.exc_info[1]:
            raised.append(record.exc_info[1])
        return record

    logging.setLogRecordFactory(note)
    try:
        yield raised
    finally:
        if logging.getLogRecordFactory() is note:
            logging.setLogRecordFactory(make_record)


def _check_in_time(wsgi: Any, raised: list[BaseException]) -> str:
    """Return the page's status: 500 if it raises, which `raised` notes, 504 if it takes longer than HEALTH_SECONDS."""
    previous = signal.signal(signal.SIGALRM, _raise_timeout)
    # Again each second, because an app may swallow the exception.
    signal.setitimer(signal.ITIMER_REAL, HEALTH_SECONDS, 1)
    try:
        return _request_status(wsgi)
    except HealthTimeout:
        return "504"
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raised.append(error)
        return "500"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class HealthTimeout(BaseException):
    """The health page took too long. Not an Exception, because apps catch those."""


def _raise_timeout(_signal: int, _frame: Any) -> None:
    raise HealthTimeout


def _report_refusal(worker: Any, status: str) -> None:
    """Answer hookd's health checks with the app's status, so that hookd need not wait for a timeout."""
    for listener in worker.sockets:
        if listener.getsockname() != HEALTH_SOCKET:
            continue
        end = time.monotonic() + REPORT_SECONDS
        for _ in range(REPORT_TIMES):
            if select.select([listener.sock], [], [], max(0.0, end - time.monotonic()))[0]:
                connection, _address = listener.sock.accept()
                with connection:
                    connection.settimeout(1)
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.0 {status} refused\r\nContent-Length: 0\r\n\r\n".encode())


def _request_status(wsgi: Any) -> str:
    """Call the WSGI app as gunicorn does, and return its status."""
    answer: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        answer.append(status)
        return lambda data: None

    body = wsgi(_environ(), start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer[-1].split(" ", 1)[0] if answer else "nothing"


def _environ() -> dict[str, Any]:
    path, _, query = HEALTH_PATH.partition("?")
    environ: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": HEALTH_PATH,
        "SERVER_NAME": "localhost",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "hookd-health",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HEALTH_HOST,
        "HTTP_USER_AGENT": "hookd-health",
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": True,
    }
    setup_testing_defaults(environ)  # The keys that PEP 3333 demands besides.
    return environ
