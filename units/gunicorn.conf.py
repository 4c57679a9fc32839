"""gunicorn's configuration for a deployed app: a worker takes requests only after its own health check passed.

Use it with `gunicorn --config .../gunicorn.conf.py wsgi:app`. gunicorn listens before its workers have loaded the app,
and two releases that share a socket both take requests from it. So each first worker calls the health page of its own
app, in its process, before it takes a request. After a wrong answer the worker and gunicorn end, and no user has seen
the release. Workers that replace a passed one are not checked: a short failure of a database must not end the site.
"""

import mmap
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from gunicorn.systemd import sd_notify

# The health page and its right answer, as in the app's [health] table.
HEALTH_PATH = os.environ.get("HOOKD_HEALTH_PATH", "")
HEALTH_STATUS = os.environ.get("HOOKD_HEALTH_STATUS", "200")
HEALTH_HOST = os.environ.get("HOOKD_HEALTH_HOST", "localhost")
HEALTH_SECONDS = int(os.environ.get("HOOKD_HEALTH_SECONDS", "20"))
# The socket on which only the deployer sends requests, if there is one. It gets the status of a refused release.
HEALTH_SOCKET = os.environ.get("HOOKD_HEALTH_SOCKET", "")
# The deployer needs three equal answers.
REPORT_TIMES, REPORT_SECONDS = 3, 5

# One byte, shared by all workers of this server and set when the first of them has passed.
_passed = mmap.mmap(-1, 1)

# With a control socket, every process of the same user could stop or change this server.
control_socket_disable = True
# Seconds for running requests when the service stops. The unit's timeout must be longer.
graceful_timeout = 30


def when_ready(server: Any) -> None:
    """Tell systemd which release runs here, and keep the path of a socket that the process manager owns."""
    sd_notify(f"STATUS=release {Path.cwd()}", server.log)
    if not HEALTH_PATH:
        server.log.warning("HOOKD_HEALTH_PATH is not set: workers take requests without a health check")
    # gunicorn deletes the path of a socket unless it believes that systemd passed it.
    server.systemd = server.systemd or any(bind.startswith("fd://") for bind in server.cfg.bind)


def post_worker_init(worker: Any) -> None:
    """Check the app's health page before this worker takes requests. An exception here ends gunicorn."""
    if not HEALTH_PATH or (_passed[0] and worker.age > worker.cfg.workers):
        return
    status = _check_health(worker.wsgi)
    if status == HEALTH_STATUS:
        _passed[0] = 1
        worker.log.info("%s answered %s: this worker takes requests", HEALTH_PATH, status)
        return
    _report_status(worker, status)
    raise RuntimeError(f"{HEALTH_PATH} answered {status}, not {HEALTH_STATUS}: this release takes no requests")


def _check_health(wsgi: Any) -> str:
    """Return the status of the health page: 500 for an exception, 504 after HEALTH_SECONDS."""
    previous = signal.signal(signal.SIGALRM, _raise_timeout)
    # The signal comes again each second, because an app may swallow the first one.
    signal.setitimer(signal.ITIMER_REAL, HEALTH_SECONDS, 1)
    try:
        return _call_app(wsgi)
    except HealthTimeout:
        return "504"
    except (Exception, SystemExit):
        traceback.print_exc()
        return "500"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class HealthTimeout(BaseException):
    """The health page gave no answer in time. Apps catch Exception, so this is none."""


def _raise_timeout(_signal: int, _frame: Any) -> None:
    raise HealthTimeout


def _call_app(wsgi: Any) -> str:
    """Call the WSGI app once, as gunicorn would, and return the three digits of its status."""
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        statuses.append(status)
        return lambda data: None

    path, _, query = HEALTH_PATH.partition("?")
    environ: dict[str, Any] = {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": HEALTH_PATH,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HEALTH_HOST,
        "HTTP_USER_AGENT": "hookd-health",
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": True,
    }
    setup_testing_defaults(environ)
    body = wsgi(environ, start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return statuses[-1].split(" ", 1)[0] if statuses else "nothing"


def _report_status(worker: Any, status: str) -> None:
    """Answer the deployer's requests with the app's status, so that it does not have to wait for a timeout."""
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
