"""Configuration for the gunicorn of an app that hookd deploys: a worker answers users only after it passed a check.

Use it with `gunicorn --config .../gunicorn.conf.py wsgi:app`. gunicorn listens before its workers have loaded the app,
and two releases that share a socket both take requests from it. So each first worker asks its own app for the health
page, in the process, before it takes a single request. When the answer is wrong the worker ends, gunicorn ends, and
no user has seen the release. A worker that dies of the question is replaced by one that is asked, too. Once a worker
has passed, those that are started later in place of one that ended are not asked: a database that is away for a minute
must not end a site that serves.
"""

import io
import mmap
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from gunicorn.systemd import sd_notify

# What the health page is, and what it must answer: the same as in the app's [health] table.
HEALTH_PATH = os.environ.get("HOOKD_HEALTH_PATH", "")
HEALTH_STATUS = os.environ.get("HOOKD_HEALTH_STATUS", "200")
HEALTH_HOST = os.environ.get("HOOKD_HEALTH_HOST", "localhost")
HEALTH_SECONDS = int(os.environ.get("HOOKD_HEALTH_SECONDS", "20"))
# The socket on which only the deployer asks, if there is one; a release that is refused says so there.
HEALTH_SOCKET = os.environ.get("HOOKD_HEALTH_SOCKET", "")
# How often and how long: the deployer believes three equal answers.
TELL_TIMES, TELL_SECONDS = 3, 5

# One byte that all workers of this server share: set when the first of them has passed.
_passed = mmap.mmap(-1, 1)

# No socket that any process of the same user could use to stop or change this server.
control_socket_disable = True
# A request that is being worked on when the service stops has this long to end; the unit must wait longer.
graceful_timeout = 30


def when_ready(server: Any) -> None:
    """Say which release runs here, which nobody can see from outside; and leave sockets of the process manager alone.

    Without the latter gunicorn deletes the path of such a socket.
    """
    sd_notify(f"STATUS=release {Path.cwd()}", server.log)
    if not HEALTH_PATH:
        server.log.warning("HOOKD_HEALTH_PATH is not set: workers take requests without having been asked")
    server.systemd = server.systemd or any(bind.startswith("fd://") for bind in server.cfg.bind)


def post_worker_init(worker: Any) -> None:
    """Ask the app for its health page before this worker takes requests; an exception here ends gunicorn."""
    if not HEALTH_PATH or (_passed[0] and worker.age > worker.cfg.workers):
        return
    status = _ask_in_time(worker.wsgi)
    if status == HEALTH_STATUS:
        _passed[0] = 1
        worker.log.info("%s answered %s: this worker takes requests", HEALTH_PATH, status)
        return
    _tell_the_deployer(worker, status)
    raise RuntimeError(f"{HEALTH_PATH} answered {status}, not {HEALTH_STATUS}: this release takes no requests")


def _ask_in_time(wsgi: Any) -> str:
    """Ask, and give up after HEALTH_SECONDS; a page that raises or hangs counts as one that answers 500 or 504."""
    previous = signal.signal(signal.SIGALRM, _too_slow)
    # Once more each second, for an app that swallows the first.
    signal.setitimer(signal.ITIMER_REAL, HEALTH_SECONDS, 1)
    try:
        return _ask(wsgi)
    except TooSlow:
        return "504"
    except (Exception, SystemExit):
        traceback.print_exc()
        return "500"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class TooSlow(BaseException):
    """The health page gave no answer in time; no Exception, since apps catch those and answer or try again."""


def _too_slow(_signal: int, _frame: Any) -> None:
    raise TooSlow


def _tell_the_deployer(worker: Any, status: str) -> None:
    """Pass the app's answer on to whoever asks on the deployer's own socket, so that it need not wait for silence."""
    for listener in worker.sockets:
        if listener.getsockname() != HEALTH_SOCKET:
            continue
        end = time.monotonic() + TELL_SECONDS
        for _ in range(TELL_TIMES):
            if select.select([listener.sock], [], [], max(0.0, end - time.monotonic()))[0]:
                connection, _address = listener.sock.accept()
                with connection:
                    connection.settimeout(1)
                    connection.recv(65536)
                    connection.sendall(f"HTTP/1.0 {status} refused\r\nContent-Length: 0\r\n\r\n".encode())


def _ask(wsgi: Any) -> str:
    """Call the WSGI app once, as gunicorn would, and return the three digits of its status."""
    answer: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        answer.append(status)
        return lambda data: None

    body = wsgi(_question(), start_response)
    try:
        for _ in body:
            pass
    finally:
        if hasattr(body, "close"):
            body.close()
    return answer[-1].split(" ", 1)[0] if answer else "nothing"


def _question() -> dict[str, Any]:
    """The health page as WSGI asks for it."""
    path, _, query = HEALTH_PATH.partition("?")
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": HEALTH_PATH,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "hookd-health",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HEALTH_HOST,
        "HTTP_USER_AGENT": "hookd-health",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
