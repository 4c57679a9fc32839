"""The start of an app's gunicorn with the app's own settings, and the check before a switch, under a real gunicorn."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, free_port, python, running, wait_for
from tests.support.visitors import ask

IN_APP = str(PROJECT / "units" / "in_app")
APP = """
import os
def app(environ, start_response):
    is_https = environ.get("HTTP_X_FORWARDED_PROTO") == environ["wsgi.url_scheme"] == "https"
    start_response("200 OK" if environ["PATH_INFO"] != "/healthz" or is_https else "301 Go", [])
    return [f"{os.environ.get('HOOK')} {os.environ.get('ENTRY')} {os.getcwd()}".encode()]
def make(text, *, more):
    os.environ["ENTRY"] = text + more
    return app
"""


@contextmanager
def gunicorn(directory: Path, *options: str, entry: str = "wsgi:app", **variables: str) -> Iterator[int]:
    """Run the app in a directory as a service does, and yield its port once it answers."""
    port = free_port()
    environment = {**os.environ, "HOOKD_HEALTH_PATH": "/healthz", **variables}
    argv = python(IN_APP, "--bind", f"127.0.0.1:{port}", *options, entry)
    with running(argv, directory / "log", environment, cwd=directory):
        wait_for(lambda: "takes requests" in log(directory), what="a worker")
        yield port


def log(directory: Path) -> str:
    return (directory / "log").read_text()


def check(directory: Path, *options: str, entry: str = "wsgi:app") -> "subprocess.CompletedProcess[str]":
    """Check the app in a directory."""
    argv = python(IN_APP, "--check", *options, entry)
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=30, check=False)


def write(directory: Path, app: str = APP, settings: str = "") -> None:
    (directory / "wsgi.py").write_text(app)
    if settings:
        (directory / "gunicorn.conf.py").write_text(settings)


def test_own_settings_count(tmp_path: Path) -> None:
    hook = "import os\n    os.environ['HOOK'] = 'ran'"
    write(tmp_path, settings=f"workers = 3\nthreads = 1\ndef post_worker_init(worker):\n    {hook}\n")
    with gunicorn(tmp_path) as port:
        wait_for(lambda: log(tmp_path).count("takes requests") == 3, what="three workers")
        assert ask(port).startswith("ran ")


def test_options_overrule_own_settings(tmp_path: Path) -> None:
    write(tmp_path, settings="workers = 3\nworker_class = 'gevent'\n")
    with gunicorn(tmp_path, "--workers", "1", "--worker-class", "sync"):
        assert log(tmp_path).count("Booting worker") == 1


@pytest.mark.parametrize("place", ["gunicorn.conf.py", "conf/prod.py"])
def test_kept_settings_are_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "conf").mkdir()
    write(tmp_path)
    kept = "bind = '/etc/x.sock'\npidfile = '/etc/x'\nuser = 'nobody-here'\nchdir = '/no/where'\ncertfile = '/no'\n"
    (tmp_path / place).write_text(f"{kept}graceful_timeout = 900\ntimeout = 99\n")
    with gunicorn(tmp_path, GUNICORN_CMD_ARGS=f"--config {place} --daemon") as port:
        assert ask(port).endswith(f" {tmp_path}")
    names = "bind, certfile, chdir, daemon, graceful_timeout, pidfile, user"
    assert f"the app's are not used: {names}\n" in log(tmp_path)


def test_factory_gets_its_arguments(tmp_path: Path) -> None:
    write(tmp_path)
    with gunicorn(tmp_path, entry="wsgi:make('pro', more='duction')") as port:
        assert " production " in ask(port)


def test_check_passes_with_a_thread(tmp_path: Path) -> None:
    """A thread that never ends would hold gunicorn's own check."""
    write(tmp_path, APP + "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n")
    assert check(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("app", "settings", "options", "cause"),
    [
        ("import os\nos.environ['DATABASE']\n", "", (), "KeyError: 'DATABASE'"),
        ("raise SystemExit(0)\n", "", (), "SystemExit: 0"),
        ("other = 1\n", "", (), "Failed to find attribute 'app' in 'wsgi'."),
        (APP, "import os\nbind = os.environ['BIND']\n", (), "KeyError: 'BIND'"),
        (APP, "workers = 'many'\n", (), "invalid literal for int()"),
        (APP, "", ("--worker-class", "eventlet"), "the worker class cannot be loaded: "),
    ],
)
def test_check_ends_with_the_cause(
    tmp_path: Path, app: str, settings: str, options: tuple[str, ...], cause: str
) -> None:
    write(tmp_path, app, settings)
    done = check(tmp_path, *options)
    assert done.returncode == 1
    assert cause in done.stderr.strip().splitlines()[-1]


def test_check_reads_what_the_service_reads(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    write(tmp_path, APP + "import helper\nassert os.environ['RAW']\n", "pythonpath = 'src'\nraw_env = ['RAW=1']\n")
    (tmp_path / "src" / "helper.py").touch()
    assert check(tmp_path).returncode == 0
    with gunicorn(tmp_path) as port:
        assert ask(port)
