"""strace kills a process before one of its calls, lets a call fail, and lists the calls."""

import fcntl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.host import APP, FaultHost
from tests.support.processes import wait_for
from tests.support.programs import program

INJECTED = "(INJECTED)"


def find_strace() -> str:
    """Return the program, or skip the test if this machine does not permit it."""
    strace = program("strace", "strace")
    if subprocess.run([strace, "-f", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not permitted on this machine")
    return strace


def calls(trace: Path) -> list[tuple[str, int]]:
    """Return the recorded calls, each with its number in its process.

    Calls for bytecode are left out, because several processes compile it in random order.
    """
    numbered: list[tuple[str, int]] = []
    counts: Counter[str] = Counter()
    for before, bracket, rest in (line.partition("(") for line in trace.read_text().splitlines()):
        call = before.split()[-1:]
        if bracket and call and call[0].isidentifier() and "__pycache__" not in rest:
            counts[before] += 1
            numbered.append((call[0], counts[before]))
    return list(dict.fromkeys(numbered))


def killed(trace: Path) -> bool:
    """Return True if strace killed a process before a call, which then has no result."""
    return any(line.endswith(" = ?") for line in trace.read_text().splitlines())


@contextmanager
def waiting_deployer(host: FaultHost) -> Iterator[int]:
    """Start a deployment of the next version that waits for the app's lock during the block."""
    locks = host.site.directory / "state" / "locks"
    with (locks / f"{APP}.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        liveness = locks / f"{host.push().id}.run"
        wait_for(lambda: liveness.exists() and liveness.read_text(), what="the deploying process")
        yield int(liveness.read_text())


@contextmanager
def attached(argv: tuple[str, ...], pid: int) -> Iterator[None]:
    """Attach strace to a process during the block."""
    tracer = subprocess.Popen([*argv, "-p", str(pid)], stderr=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), what="strace")
        yield
    finally:
        tracer.terminate()
        tracer.wait(30)


@contextmanager
def watched(host: FaultHost, argv: tuple[str, ...]) -> Iterator[None]:
    """Deploy the next version with its own process under strace."""
    with ExitStack() as stack:
        with waiting_deployer(host) as pid:
            stack.enter_context(attached(argv, pid))
        yield
