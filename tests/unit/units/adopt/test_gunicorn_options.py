"""gunicorn's options: kept, set by hookd, or reported as dropped."""

import shlex
from pathlib import Path

import pytest

from units.adopt.discovery.gunicorn_options import GunicornOptions, read_options
from units.system.errors import Refused

GUNICORN = "/opt/shop/venv/bin/gunicorn"


def started(line: str, directory: Path, processes: int = 2, **environment: str) -> GunicornOptions:
    return read_options([tuple(shlex.split(line))], environment, directory, processes)


def test_options_are_kept(tmp_path: Path) -> None:
    line = (
        f"{GUNICORN} -w 3 --threads 8 -k gthread -t 120 --preload -b 127.0.0.1:8000 -D -p /run/pid --chdir src wsgi:app"
    )
    found = started(line, tmp_path)
    assert (found.entry, found.workers, found.threads, found.chdir) == ("wsgi:app", 3, 8, "src")
    assert found.arguments == ("--worker-class=gthread", "--timeout=120", "--preload")
    assert found.dropped == ()


@pytest.mark.parametrize(
    "line",
    [f"{GUNICORN} wsgi:app", "/opt/shop/venv/bin/python -m gunicorn wsgi:app", "/x/python /x/bin/gunicorn wsgi:app"],
)
def test_start_commands(line: str, tmp_path: Path) -> None:
    assert started(line, tmp_path) == GunicornOptions("wsgi:app", 1, 1, "", (), ())


@pytest.mark.parametrize("line", ["", "/usr/bin/flask run", f"{GUNICORN} --workers 2", f"{GUNICORN} -w many wsgi:app"])
def test_other_commands_are_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        started(line, tmp_path)


def test_process_of_a_script_is_read(tmp_path: Path) -> None:
    """A script that ends with `exec gunicorn …` leaves the command in its process."""
    commands = [("/opt/shop/gunicorn_start",), ("/opt/shop/venv/bin/python3", GUNICORN, "wsgi:app")]
    assert read_options(commands, {}, tmp_path, 2).entry == "wsgi:app"
    with pytest.raises(Refused, match=r"/opt/shop/gunicorn_start does not start gunicorn"):
        read_options(commands[:1], {}, tmp_path, 2)


def test_command_line_overrides_variables(tmp_path: Path) -> None:
    found = started(
        f"{GUNICORN} -t 5 a:b", tmp_path, GUNICORN_CMD_ARGS="--timeout 9 --keep-alive 7", WEB_CONCURRENCY="6"
    )
    assert found.arguments == ("--timeout=5", "--keep-alive=7")
    assert found.workers == 6


def test_file_is_never_run(tmp_path: Path) -> None:
    """The file is not root's. Its computed values are read from the processes or reported."""
    (tmp_path / "gunicorn.conf.py").write_text(
        "import os, multiprocessing\n"
        f"open({str(tmp_path / 'was-run')!r}, 'w')\n"
        "workers = multiprocessing.cpu_count() * 2 + 1\n"
        "timeout = 77\nraw_env = ['A=1', 'B=2']\naccesslog = os.environ['LOG']\nbind = 'x:1'\nwsgi_app = 'shop.wsgi'\n"
        "def post_fork(server, worker): pass\n"
        "def my_own(): pass\n"
    )
    found = started(GUNICORN, tmp_path, processes=5)
    assert found.workers == 5
    assert found.entry == "shop.wsgi"
    assert found.arguments == ("--timeout=77", "--env=A=1", "--env=B=2")
    assert [one.rsplit(" ", 1)[1] for one in found.dropped] == ["accesslog", "post_fork"]
    assert not (tmp_path / "was-run").exists()


def test_command_line_overrides_file(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("timeout = 1\nkeepalive = 2\nworkers = 4\n")
    found = started(f"{GUNICORN} -c g.py --timeout 3 a:b", tmp_path)
    assert found.arguments == ("--timeout=3", "--keep-alive=2")
    assert found.workers == 4


def test_invalid_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("workers = = 4\n")
    with pytest.raises(Refused, match=r"gunicorn\.conf\.py cannot be read"):
        started(f"{GUNICORN} a:b", tmp_path)


def test_dropped_options_are_reported(tmp_path: Path) -> None:
    found = started(f"{GUNICORN} --certfile c.pem --graceful-timeout 120 a:b", tmp_path)
    assert set(found.dropped) == {"certfile=c.pem", "graceful_timeout=120"}
