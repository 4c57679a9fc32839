"""gunicorn's options as people write them: taken over, left to hookd, or named because they get lost."""

import shlex
from pathlib import Path

import pytest

from units.adopt.discovery.gunicorn_options import GunicornOptions, NotGunicorn, read_options

GUNICORN = "/opt/shop/venv/bin/gunicorn"


def started(line: str, directory: Path, processes: int = 2, **environment: str) -> GunicornOptions:
    return read_options(tuple(shlex.split(line)), environment, directory, processes)


def test_options_are_taken_over_and_what_hookd_decides_is_not(tmp_path: Path) -> None:
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
def test_every_way_to_start_it_is_understood(line: str, tmp_path: Path) -> None:
    assert started(line, tmp_path) == GunicornOptions("wsgi:app", 1, 1, None, (), ())


@pytest.mark.parametrize("line", ["", "/usr/bin/flask run", f"{GUNICORN} --workers 2", f"{GUNICORN} -w many wsgi:app"])
def test_what_cannot_be_read_says_so(line: str, tmp_path: Path) -> None:
    with pytest.raises(NotGunicorn):
        started(line, tmp_path)


def test_variables_count_less_than_what_was_typed(tmp_path: Path) -> None:
    found = started(
        f"{GUNICORN} -t 5 a:b", tmp_path, GUNICORN_CMD_ARGS="--timeout 9 --keep-alive 7", WEB_CONCURRENCY="6"
    )
    assert found.arguments == ("--timeout=5", "--keep-alive=7")
    assert found.workers == 6


def test_a_file_is_read_and_never_run(tmp_path: Path) -> None:
    """It belongs to somebody who is not root; what only running it would tell is seen in the processes, or named."""
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


def test_a_file_that_is_named_counts_less_than_what_was_typed(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("timeout = 1\nkeepalive = 2\nworkers = 4\n")
    found = started(f"{GUNICORN} -c g.py --timeout 3 a:b", tmp_path)
    assert found.arguments == ("--timeout=3", "--keep-alive=2")
    assert found.workers == 4


def test_a_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("workers = = 4\n")
    assert started(f"{GUNICORN} a:b", tmp_path).dropped == (f"{tmp_path}/gunicorn.conf.py: all of it",)


def test_what_gets_lost_is_named(tmp_path: Path) -> None:
    found = started(f"{GUNICORN} --certfile c.pem --graceful-timeout 120 a:b", tmp_path)
    assert set(found.dropped) == {"certfile=c.pem", "graceful_timeout=120"}
