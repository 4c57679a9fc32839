"""Each worker class under load: a bad release takes no request, and a handover loses none."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from tests.support.processes import PROJECT, wait_for

APP = """
import asyncio, os, time
STATUS = os.environ["STATUS"]
state = []
def served():
    open(os.environ["SERVED"], "a").close()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        if STATUS == "hangs": time.sleep(600)
        start_response(f"{STATUS} x", []); return [b""]
    served(); work(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", "2")]); return [b"ok"]
def work(path):
    end = time.monotonic() + 0.01
    while path == "/busy" and time.monotonic() < end: pass
    if path == "/": time.sleep(0.003)
async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); state.append(1)
        await send({"type": "lifespan.startup.complete"})
        await receive(); await send({"type": "lifespan.shutdown.complete"})
        return
    assert state, "asked before its start"
    if scope["path"] == "/healthz":
        if STATUS == "hangs": await asyncio.sleep(600)
        if STATUS == "blocks": time.sleep(600)
        await answer(send, int(STATUS), b"")
    else:
        served(); await asyncio.sleep(0.003); await answer(send, 200, b"ok")
async def bare(scope, receive, send):
    if scope["type"] == "lifespan": raise NotImplementedError
    state.append(1); await asgi(scope, receive, send)
async def answer(send, status, body):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
HANDOVERS, CLIENTS, PAUSE_SECONDS = 4, 12, 0.01
# gevent starts fifty greenlets before it looks at the time.
_MANY = 150


class Kind(NamedTuple):
    """The packages of an environment, the options of the program, the app's entry, and the number of workers."""

    packages: str
    options: str = ""
    entry: str = "wsgi:app"
    workers: int = 2


NEW, OLD, OLDEST = "gunicorn==27.0.1", "gunicorn==23.0.0", "gunicorn==20.1.0 setuptools<81"
UVICORN = "--worker-class uvicorn_worker.UvicornWorker"
KINDS = {
    "gthread": Kind(NEW),
    "sync": Kind(NEW, "--worker-class sync"),
    "gevent": Kind(f"{NEW} gevent packaging", "--worker-class gevent"),
    # It accepts a hundred connections at once, more of them than with another worker beside it.
    "gevent alone": Kind(f"{NEW} gevent packaging", "--worker-class gevent --workers 1", workers=1),
    "asgi": Kind(NEW, "--worker-class asgi", "wsgi:asgi"),
    "asgi without lifespan": Kind(NEW, "--worker-class asgi", "wsgi:bare"),
    "uvicorn": Kind(f"{NEW} uvicorn-worker", UVICORN, "wsgi:asgi"),
    "uvicorn without lifespan": Kind(f"{NEW} uvicorn-worker", UVICORN, "wsgi:bare"),
    "gunicorn 23": Kind(OLD),
    "gunicorn 23 asgi": Kind(f"{OLD} uvicorn-worker", "--worker-class asgi", "wsgi:asgi"),
    "gunicorn 20": Kind(OLDEST),
}


# They wait in an event loop, which a signal interrupts in another way.
HANGING = (KINDS["gevent"], KINDS["asgi"], KINDS["uvicorn"])


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def environment(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the environment of a kind, and return its Python."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    uv = Path(sys.executable).with_name("uv")
    python = venv / "bin" / "python"
    subprocess.run([str(uv), "--quiet", "venv", "--python", sys.executable, str(venv)], check=True, timeout=60)
    install = [str(uv), "--quiet", "pip", "install", "--python", str(python), *kind.packages.split()]
    subprocess.run(install, check=True, timeout=120)
    return python


def _listen(path: Path) -> socket.socket:
    held = socket.socket(socket.AF_UNIX)
    held.bind(str(path))
    held.listen(1024)
    return held


class Site:
    """A held socket, and one for the deployer, on which one gunicorn after the other takes requests."""

    def __init__(self, directory: Path, kind: Kind, python: Path) -> None:
        self.directory, self._kind, self._python = directory, kind, python
        self.path = directory / "site"
        self.own = directory / "own"
        self._held = [_listen(self.path), _listen(self.own)]
        (directory / "wsgi.py").write_text(APP)

    def close(self) -> None:
        """Close the sockets."""
        for held in self._held:
            held.close()

    @contextmanager
    def release(self, status: str = "200") -> Iterator["subprocess.Popen[bytes]"]:
        """Start a release whose health page answers with a status."""
        log = self.directory / f"log{time.monotonic_ns()}"
        held = [each.fileno() for each in self._held]
        binds = [word for number in held for word in ("--bind", f"fd://{number}")]
        argv: list[str | Path] = [self._python, PROJECT / "units" / "in_app", *binds]
        variables = {
            **os.environ,
            "HOOKD_HEALTH_PATH": "/healthz",
            "HOOKD_HEALTH_SECONDS": "2",
            "HOOKD_HEALTH_SOCKET": str(self.own),
            "STATUS": status,
            "SERVED": str(self.directory / "served"),
        }
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*argv, *self._kind.options.split(), self._kind.entry],
                cwd=self.directory,
                env=variables,
                pass_fds=held,
                stderr=file,
            )
        try:
            if status == "200":
                number = self._kind.workers
                wait_for(lambda: log.read_text().count("takes requests") == number, what=f"the workers, {log}")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)

    def visit(self, path: Path, *, pause: float = 0, page: str = "/") -> bytes:
        """Send one request, perhaps some time after its connection, and return the answer."""
        with closing(socket.socket(socket.AF_UNIX)) as user:
            user.settimeout(30)
            user.connect(str(path))
            time.sleep(pause)
            user.sendall(f"GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            received = b""
            while piece := user.recv(65536):
                received += piece
            return received

    def visit_until(self, end: Event, pause: float, page: str = "/") -> list[str]:
        """Send requests until the end, and return the failures."""
        failures = []
        while not end.wait(PAUSE_SECONDS):
            try:
                answer = self.visit(self.path, pause=pause, page=page)
                failures += [] if answer.endswith(b"ok") else [repr(answer)]
            except OSError as error:
                failures.append(repr(error))
        return failures


@pytest.fixture
def site(tmp_path: Path, kind: Kind, environment: Path) -> Iterator[Site]:
    with closing(Site(tmp_path, kind, environment)) as site:
        yield site


def test_handovers_lose_no_request(site: Site) -> None:
    end = Event()
    with ThreadPoolExecutor(CLIENTS) as pool, site.release():
        # Every third client is a little slow after its connection.
        results = [pool.submit(site.visit_until, end, 0.004 * (number % 3 == 0)) for number in range(CLIENTS)]
        try:
            for _ in range(HANDOVERS):
                with site.release():
                    pass
        finally:
            end.set()
        failures = [failure for result in results for failure in result.result()]
    assert failures == []


def test_busy_worker_answers_all(site: Site) -> None:
    """Connections that it has accepted, and not begun to read."""
    end = Event()
    with ThreadPoolExecutor(_MANY) as pool:
        with site.release():
            results = [pool.submit(site.visit_until, end, 0, "/busy") for _ in range(_MANY)]
            wait_for((site.directory / "served").exists, what="an answer")
        end.set()
        with site.release():
            failures = [failure for result in results for failure in result.result()]
    assert failures == []


@pytest.mark.promise(64)
@pytest.mark.parametrize("status", ["500", "hangs", "blocks"])
def test_bad_release_serves_nobody(site: Site, kind: Kind, status: str) -> None:
    if (status != "500" and kind not in HANGING) or (status == "blocks" and kind.entry == "wsgi:app"):
        pytest.skip("another kind waits in the same way")
    with ThreadPoolExecutor(1) as pool:
        with site.release(status) as process:
            user = pool.submit(site.visit, site.path)
            answer, *_ = [site.visit(site.own) for _ in range(3)]
            assert answer.startswith(b"HTTP/1.0 500" if status == "500" else b"HTTP/1.0 504")
            assert process.wait(20) != 0
        with site.release():
            assert user.result().endswith(b"ok")
