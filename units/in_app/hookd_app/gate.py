"""The health gate: a worker takes requests only after its own health check.

gunicorn listens before its workers have loaded the app, and two releases on one socket both take requests. So each
first worker requests the health page from its own app, in the process. After a bad answer gunicorn ends, and no user
has seen the release. Workers that replace an ended one later skip the check, because a database outage of a minute must
not end a serving site.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from contextlib import suppress
from typing import Any

from hookd_app import refusal, wsgi

# The app's [health] table.
HEALTH_PATH = os.environ.get("HOOKD_HEALTH_PATH", "")
HEALTH_STATUS = os.environ.get("HOOKD_HEALTH_STATUS", "200")
HEALTH_HOST = os.environ.get("HOOKD_HEALTH_HOST", "localhost")
HEALTH_SECONDS = int(os.environ.get("HOOKD_HEALTH_SECONDS", "20"))
# The private socket for hookd's health checks, if there is one. A bad release reports its status there.
HEALTH_SOCKET = os.environ.get("HOOKD_HEALTH_SOCKET", "")
# hookd needs three equal answers.
_REPORT_TIMES, _REPORT_SECONDS = 3, 5
# Modules with gunicorn's classes for WSGI, and the packages with classes for ASGI.
_WSGI = tuple(f"gunicorn.workers.{name}" for name in ("sync", "gthread", "ggevent", "geventlet"))
_ASGI = ("gunicorn.workers.gasgi", "uvicorn_worker", "uvicorn")

# Shared by all workers: 1 after the first passed check.
_passed = mmap.mmap(-1, 1)


def check_worker(worker: Any) -> None:
    """Check a worker's health before it takes requests. An exception here ends gunicorn."""
    if not HEALTH_PATH or (_passed[0] and worker.age > worker.cfg.workers):
        return
    if _is_asgi(worker):
        from hookd_app import asgi  # asyncio costs other apps memory.

        asgi.install(worker)
    elif _is_one_of(worker, _WSGI):
        with refusal.noted_errors() as raised:
            status = wsgi.check(worker, request(), seconds(worker), raised)
        if why := judge(worker, status, raised):
            raise RuntimeError(why)
    else:
        worker.log.warning("%s is unknown: it takes requests without a health check", type(worker).__name__)


def judge(worker: Any, status: str, raised: list[BaseException]) -> str | None:
    """Return why the release takes no requests, after a report to the deployer, or None if it may.

    `raised` are the app's exceptions meanwhile.
    """
    if accepts(status):
        _passed[0] = 1
        worker.log.info("%s answered %s: this worker takes requests", HEALTH_PATH, status)
        return None
    _report_refusal(worker, status or "504")
    answer = f"{HEALTH_PATH} answered {status}, not {HEALTH_STATUS}"
    if status == wsgi.NO_ANSWER:
        answer = f"{HEALTH_PATH} gives no answer within {seconds(worker)} s"
    refusal.note(f"{answer}: the app raised {refusal.describe(raised[-1])}" if raised else answer)
    return f"{answer}: this release takes no requests"


def accepts(status: str) -> bool:
    """Return True for a status that means healthy: HEALTH_STATUS, or a smaller one after `<`."""
    if HEALTH_STATUS.startswith("<"):
        return status.isdigit() and int(status) < int(HEALTH_STATUS[1:])
    return status == HEALTH_STATUS


def request() -> tuple[str, str, dict[str, str]]:
    """Return path, query and headers of the health request, as nginx would send it for an https site.

    An app that redirects to https would answer every other request with a redirect.
    """
    path, _, query = HEALTH_PATH.partition("?")
    headers = {
        "Host": HEALTH_HOST,
        "User-Agent": "hookd-health",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
    }
    return path, query, headers


def seconds(worker: Any) -> int:
    """Return the limit of the check, below gunicorn's own for a silent worker."""
    limit: int = worker.cfg.timeout
    return min(HEALTH_SECONDS, max(1, limit - 2)) if limit else HEALTH_SECONDS


def _is_asgi(worker: Any) -> bool:
    """Return True for a worker that calls ASGI apps."""
    return _is_one_of(worker, _ASGI)


def _is_one_of(worker: Any, modules: tuple[str, ...]) -> bool:
    found = [kind.__module__ for kind in type(worker).__mro__]
    return any(name == module or name.startswith(f"{module}.") for name in found for module in modules)


def _report_refusal(worker: Any, status: str) -> None:
    """Answer hookd's health checks with the app's status, so that hookd need not wait for a timeout."""
    for listener in worker.sockets:
        if listener.getsockname() == HEALTH_SOCKET:
            with socket.socket(fileno=os.dup(listener.fileno())) as own, suppress(OSError):
                _answer(own, status)


def _answer(listener: socket.socket, status: str) -> None:
    """Answer the next requests on a socket. Raises OSError if none come in time."""
    end = time.monotonic() + _REPORT_SECONDS
    for _ in range(_REPORT_TIMES):
        listener.settimeout(max(0.01, end - time.monotonic()))
        connection, _address = listener.accept()
        with connection:
            connection.settimeout(1)
            connection.recv(65536)
            connection.sendall(f"HTTP/1.0 {status} refused\r\nContent-Length: 0\r\n\r\n".encode())
