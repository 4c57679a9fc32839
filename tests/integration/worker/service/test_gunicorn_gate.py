"""The health gate under a real gunicorn: a bad release takes no request of a user."""

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, free_port, python, running, wait_for

APP = """
import os, signal, time
from pathlib import Path
served, asked, sick = Path({directory!r}, "served"), Path({directory!r}, "asked"), Path({directory!r}, "sick")
def app(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        with asked.open("a") as file:
            file.write(str(os.getpid()) + " " + environ["HTTP_HOST"] + " " + environ["QUERY_STRING"] + "\\n")
        {health}
        start_response("503 Sick" if sick.exists() else "200 OK", [])
        return [b"well"]
    with served.open("a") as file:
        file.write("a user\\n")
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
BAD = {
    "a wrong status": 'start_response("500 Oops", []); return [b""]',
    "not ready": 'start_response("503 Later", []); return [b""]',
    "an exception": "raise LookupError('no table')",
    "an exception in the body": 'start_response("200 OK", []); return (1 / 0 for _ in "x")',
    "no status": "return []",
    "an exit": "raise SystemExit(3)",
    "silence": "time.sleep(600)",
    "silence in the body": 'start_response("200 OK", []); return (time.sleep(600) for _ in "x")',
    "silence that swallows exceptions": "exec('while True:\\n try: time.sleep(600)\\n except Exception: pass')",
}
CRASHES = {
    "a crash": "os._exit(1)",
    "a kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "an exit that says all is well": "os._exit(0)",
}


class Site:
    """An app in a directory, and its gunicorn of two workers."""

    def __init__(self, directory: Path, health: str = "pass") -> None:
        self.directory = directory
        self.port = free_port()
        (directory / "wsgi.py").write_text(APP.format(directory=str(directory), health=health))

    @contextmanager
    def gunicorn(self, *options: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run gunicorn with hookd's program."""
        fixed = ("--workers", "2", "--threads", "1", "--bind", f"127.0.0.1:{self.port}")
        argv = python(str(PROJECT / "units" / "in_app"), *fixed, *options, "wsgi:app")
        env = {**os.environ, "HOOKD_HEALTH_PATH": "/healthz", "HOOKD_HEALTH_SECONDS": "1", **environment}
        with running(argv, self.directory / "log", env, cwd=self.directory) as process:
            yield process

    def lines(self, name: str) -> list[str]:
        """Return the app's notes: one line for each user it `served` or each time it was `asked` for its health."""
        file = self.directory / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def log(self) -> str:
        """Return gunicorn's log."""
        return (self.directory / "log").read_text()

    def ask(self) -> int:
        """Send a user's request and return the process id of the worker."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    def listens(self) -> bool:
        """Return True if gunicorn takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @contextmanager
    def impatient_users(self) -> Iterator[list[socket.socket]]:
        """Send requests as soon as the port is open, before a worker is ready."""
        users: list[socket.socket] = []
        wait_for(self.listens, what="the port")
        with suppress(ConnectionError):
            for _ in range(5):
                users.append(socket.create_connection(("127.0.0.1", self.port)))
                users[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            yield users
        finally:
            for user in users:
                user.close()


def answered(users: list[socket.socket]) -> bytes:
    """Return all answers that the users have received."""
    received = b""
    for user in users:
        user.setblocking(False)
        with suppress(OSError):
            received += user.recv(65536)
    return received


@pytest.mark.threat(28)
@pytest.mark.promise(64)
@pytest.mark.parametrize("health", BAD.values(), ids=BAD.keys())
def test_bad_health_page(tmp_path: Path, health: str) -> None:
    site = Site(tmp_path, f"time.sleep(0.3); {health}")
    with site.gunicorn() as process, site.impatient_users() as users:
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert process.returncode != 0
        assert answered(users) == b""
    assert site.lines("asked")
    assert site.lines("served") == []


@pytest.mark.parametrize("health", CRASHES.values(), ids=CRASHES.keys())
def test_workers_die_in_health_check(tmp_path: Path, health: str) -> None:
    site = Site(tmp_path, f"time.sleep(0.1); {health}")
    with site.gunicorn(), site.impatient_users() as users:
        wait_for(lambda: len(site.lines("asked")) >= 6, what="six workers")
        assert answered(users) == b""
    assert site.lines("served") == []


@pytest.mark.parametrize(("health", "status"), [(BAD["a wrong status"], b"500"), (BAD["silence"], b"504")])
def test_deployer_gets_the_status(tmp_path: Path, health: str, status: bytes) -> None:
    own = tmp_path / "own.sock"
    site = Site(tmp_path, health)
    options = ("--bind", f"unix:{own}")
    with site.gunicorn(*options, HOOKD_HEALTH_SOCKET=str(own)) as process, site.impatient_users() as users:
        with socket.socket(socket.AF_UNIX) as deployer:
            # gunicorn binds its socket before it listens.
            wait_for(lambda: deployer.connect_ex(str(own)) == 0, what="the deployer's socket")
            deployer.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            deployer.settimeout(30)
            assert deployer.recv(4096).startswith(b"HTTP/1.0 " + status)
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert answered(users) == b""
    assert site.lines("served") == []


def test_reason_in_log(tmp_path: Path) -> None:
    site = Site(tmp_path, "time.sleep(600)")
    with site.gunicorn() as process:
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
    assert "/healthz gives no answer within 1 s: this release takes no requests" in site.log


@pytest.mark.promise(64)
def test_first_workers_are_checked_once(tmp_path: Path) -> None:
    """The release serves afterwards."""
    site = Site(tmp_path)
    with site.gunicorn():
        wait_for(site.listens, what="gunicorn")
        assert site.ask()
        wait_for(lambda: len(site.lines("asked")) == 2, what="two questions")
    assert len({line.split()[0] for line in site.lines("asked")}) == 2
    assert len(site.lines("served")) == 1


def test_path_query_host_and_status(tmp_path: Path) -> None:
    site = Site(tmp_path, 'start_response("204 Empty", []); return []')
    environment = {
        "HOOKD_HEALTH_PATH": "/healthz?deep=1",
        "HOOKD_HEALTH_HOST": "shop.example.org",
        "HOOKD_HEALTH_STATUS": "204",
    }
    with site.gunicorn(**environment):
        wait_for(site.listens, what="gunicorn")
        assert site.ask()
    assert site.lines("asked")[0].endswith(" shop.example.org deep=1")


def test_later_workers_are_not_checked(tmp_path: Path) -> None:
    """A short failure does not end a site that serves."""
    site = Site(tmp_path)
    with site.gunicorn() as process:
        wait_for(site.listens, what="gunicorn")
        wait_for(lambda: site.log.count("this worker takes requests") == 2, what="two workers")
        first = site.ask()
        (tmp_path / "sick").touch()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: site.log.count("Booting worker") == 3, what="a third worker")
        wait_for(lambda: site.ask() not in workers(site), what="an answer of the third worker")
        assert process.poll() is None
    assert len(site.lines("asked")) == 2


@contextmanager
def notifications(directory: Path) -> Iterator[Callable[[], bytes]]:
    """Provide systemd's socket for sd_notify, and a function that returns what was sent since its last call."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(directory / "notify"))
        systemd.setblocking(False)

        def received() -> bytes:
            found = b""
            with suppress(BlockingIOError):
                while True:
                    found += systemd.recv(4096) + b"\n"
            return found

        yield received


@pytest.mark.threat(90)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_reported(tmp_path: Path, sent: signal.Signals) -> None:
    site = Site(tmp_path)
    with notifications(tmp_path) as received, site.gunicorn(NOTIFY_SOCKET=str(tmp_path / "notify")):
        wait_for(lambda: site.log.count("this worker takes requests") == 2, what="two workers")
        assert b"ERRNO" not in received()
        os.kill(site.ask(), sent)
        wait_for(lambda: b"ERRNO=4" in received(), what="the report")


@pytest.mark.parametrize("health", [BAD["a wrong status"], BAD["an exit"], BAD["silence"]])
def test_refused_release_reports_no_kill(tmp_path: Path, health: str) -> None:
    site = Site(tmp_path, f"time.sleep(0.3); {health}")
    with notifications(tmp_path) as received, site.gunicorn(NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert b"ERRNO" not in received()


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (BAD["a wrong status"], b"/healthz answered 500, not 200"),
        (BAD["an exception"], b"/healthz answered 500, not 200: the app raised LookupError: no table"),
        ("raise LookupError(os.environ['TOKEN'])", b"/healthz answered 500, not 200: the app raised LookupError: ***"),
        (
            "import logging; logging.exception('x', exc_info=KeyError('y')); " + BAD["a wrong status"],
            b"/healthz answered 500, not 200: the app raised KeyError: 'y'",
        ),
    ],
)
def test_refusal_has_its_reason(tmp_path: Path, health: str, reason: bytes) -> None:
    site, file = Site(tmp_path, health), tmp_path / "refused"
    more = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "HOOKD_REFUSAL_FILE": str(file), "TOKEN": "s3cr3t-value"}
    with notifications(tmp_path) as received, site.gunicorn(**more) as process:
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert b"STATUS=refused: " + reason + b"\n" in received()
    assert file.read_bytes() == reason


def test_failed_import_has_its_reason(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "wsgi.py").write_text("import of_no_package")
    with notifications(tmp_path) as received, site.gunicorn(NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert b"STATUS=refused: ModuleNotFoundError: No module named 'of_no_package'" in received()


def test_stop_reports_no_kill(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with notifications(tmp_path) as received, site.gunicorn(NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
        wait_for(lambda: site.log.count("this worker takes requests") == 2, what="two workers")
        os.kill(site.ask(), signal.SIGTERM)
        wait_for(lambda: site.log.count("Booting worker") == 3, what="a third worker")
        process.terminate()
        wait_for(lambda: process.poll() is not None, what="the end of gunicorn")
        assert b"ERRNO" not in received()


def workers(site: Site) -> set[int]:
    """Return the workers that were checked."""
    return {int(line.split()[0]) for line in site.lines("asked")}


def test_timer_is_cancelled(tmp_path: Path) -> None:
    """It does not ring while users are served."""
    site = Site(tmp_path, "before = signal.getitimer(signal.ITIMER_REAL); assert 0 < before[0] <= 1")
    app = tmp_path / "wsgi.py"
    app.write_text(app.read_text().replace(
        '[str(os.getpid()).encode()]', '[str(int(signal.getitimer(signal.ITIMER_REAL)[0] * 1000)).encode()]'
    ))  # fmt: skip
    with site.gunicorn():
        wait_for(site.listens, what="gunicorn")
        assert site.ask() == 0


def test_without_health_page(tmp_path: Path) -> None:
    site = Site(tmp_path, BAD["an exception"])
    with site.gunicorn(HOOKD_HEALTH_PATH=""):
        wait_for(site.listens, what="gunicorn")
        assert site.ask()
    assert site.lines("asked") == []
