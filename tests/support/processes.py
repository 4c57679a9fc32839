"""Starts programs for tests, waits for conditions, and leaves nothing running."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def wait_for(condition: Callable[[], object], seconds: float = 30, what: str = "the condition") -> None:
    """Wait until a condition holds, or fail the test.

    A long wait checks less often, because tests side by side mostly wait and every check costs time.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        if waited > seconds:
            raise AssertionError(f"{what} did not come about within {seconds:g} s")
        time.sleep(min(max(0.02, waited / 20), 0.1))


def accepts(path: Path) -> bool:
    """Return True if a program takes connections on a unix socket. Its file exists a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def listens(port: int) -> bool:
    """Return True if a program takes connections on a TCP port of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a TCP port of the loopback address that no program listens on and no other test process is given.

    The kernel would give a port that any outgoing connection may take before the test's program listens on it.
    """
    return next(port for port in _PORTS if _is_free(port))


def _own_ports() -> Iterator[int]:
    """Return the ports of this test process, below the ones that the kernel gives to connections."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
    first = random.SystemRandom().randrange(1000)  # Another test run on the same machine starts elsewhere.
    return cycle(10_000 + 1000 * worker + (first + number) % 1000 for number in range(1000))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_PORTS = _own_ports()


@contextmanager
def running(
    argv: list[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path = PROJECT
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program in its own process group during the block, with its output in a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(os.environ if env is None else env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop a program and its group: TERM, ten seconds, KILL."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sig)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def heed_signals_in_children() -> None:
    """Give the programs of tests default signals, even if this process ignores some.

    A script's `&` and `nohup` start a process so, and its programs inherit it. A handler is not inherited.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def python(*arguments: str) -> list[str]:
    """Return a command line with this test run's own Python."""
    return [sys.executable, *arguments]
