"""The app's lock and the liveness files, between processes."""

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, wait_for
from worker.errors import DeployError
from worker.process.lock import app_lock, hold_liveness_file, is_held, lock_holder

HOLDER = """
import sys, time
from pathlib import Path
from worker.process.lock import app_lock
from worker.process.lock import hold_liveness_file
with {how}:
    print("held", flush=True)
    time.sleep(600)
"""
LOCK, SIGN = 'app_lock(Path(sys.argv[1]), "shop-first", 5)', "hold_liveness_file(Path(sys.argv[1]))"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "shop.lock"


@contextmanager
def holding(path: Path, how: str = LOCK) -> Iterator["subprocess.Popen[bytes]"]:
    """Run another process that holds the lock or a liveness file."""
    argv = [sys.executable, "-c", HOLDER.format(how=how), str(path)]
    with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_second_deployer_is_refused(path: Path) -> None:
    with holding(path) as first:
        assert lock_holder(path)
        with pytest.raises(DeployError) as caught, app_lock(path, "shop-second", 0.3):
            pytest.fail("two deployers at once")
        assert caught.value.cause.endswith(f"for more than 0.3 s: shop-first (process {first.pid})")


@pytest.mark.threat(13)
def test_killed_holder_frees_the_lock(path: Path) -> None:
    with holding(path) as first:
        first.send_signal(signal.SIGKILL)
        with app_lock(path, "shop-second", 20):
            assert path.read_text() == f"shop-second (process {os.getpid()})\n"
    assert not lock_holder(path)


def test_waiting_deployer_gets_the_lock(path: Path) -> None:
    with holding(path) as first:
        waiting = multiprocessing.get_context("fork").Process(target=_take, args=(path,))
        waiting.start()
        first.kill()
        waiting.join(20)
        assert waiting.exitcode == 0


def _take(path: Path) -> None:
    with app_lock(path, "shop-second", 20):
        pass


def test_failed_deployment_frees_the_lock(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), app_lock(path, "shop-first", 1):
        raise ZeroDivisionError
    assert not lock_holder(path)


def test_programs_do_not_inherit_the_lock(path: Path) -> None:
    with app_lock(path, "shop-first", 1):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        assert not lock_holder(path)
    finally:
        child.kill()
        child.wait()


def test_lock_holder_changes_nothing(path: Path) -> None:
    assert not lock_holder(path)
    assert not path.exists()
    with app_lock(path, "shop-first", 1):
        pass
    assert not lock_holder(path)
    with app_lock(path, "shop-second", 1):
        assert lock_holder(path)


def test_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"), app_lock(path, "shop-first", 1):
        pytest.fail("the link was followed")
    assert victim.read_text() == "untouched"


COUNTER = """
import sys
from pathlib import Path
from worker.process.lock import app_lock
counter = Path(sys.argv[2])
for _ in range(25):
    with app_lock(Path(sys.argv[1]), "x", 60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.mark.threat(13, 32)
def test_four_processes_take_turns(path: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    argv = [sys.executable, "-c", COUNTER, str(path), str(counter)]
    processes = [subprocess.Popen(argv, cwd=PROJECT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert counter.read_text() == "100"


def test_other_programs_can_take_the_lock(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wait_for(lambda: lock_holder(path) is not None, what="the lock")


def test_killed_process_holds_no_liveness_file(path: Path) -> None:
    with holding(path, SIGN) as process:
        assert is_held(path)
        process.kill()
        process.wait()
        assert path.exists()
        assert not is_held(path)


def test_own_liveness_file_is_recognised(path: Path) -> None:
    with hold_liveness_file(path):
        assert not is_held(path)
        assert path.exists()
    assert not path.exists()


def test_second_process_leaves_the_liveness_file(path: Path) -> None:
    with holding(path, SIGN):
        with hold_liveness_file(path):
            assert is_held(path)
        assert is_held(path)


def test_probe_leaves_the_liveness_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    looking = path.open("w")
    fcntl.flock(looking, fcntl.LOCK_EX)
    threading.Timer(0.3, looking.close).start()
    with hold_liveness_file(path):
        assert lock_holder(path)
        assert path.read_text() == str(os.getpid())
