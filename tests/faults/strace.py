"""strace as a means: kills a process before one of its calls, or lets a call fail, and tells which calls there were."""

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
    """The program, where this machine lets it look at others. Else the test is skipped."""
    found = program("strace", "strace")
    if subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let strace look at processes")
    return found


def calls(trace: Path) -> list[tuple[str, int]]:
    """Name the calls that strace saw, each with its number: that of its process, where it saw several.

    Bytecode is compiled by several processes, each time shared out among them in another way: it is left out.
    """
    found: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    for before, bracket, rest in (line.partition("(") for line in trace.read_text().splitlines()):
        call = before.split()[-1:]
        if bracket and call and call[0].isidentifier() and "__pycache__" not in rest:
            seen[before] += 1
            found.append((call[0], seen[before]))
    return list(dict.fromkeys(found))


def killed(trace: Path) -> bool:
    """Tell whether strace killed a process before one of its calls, which then has no result."""
    return any(line.endswith(" = ?") for line in trace.read_text().splitlines())


@contextmanager
def waiting_deployer(host: FaultHost) -> Iterator[int]:
    """A process that deploys the next version, and waits for the app's lock for as long as the block."""
    locks = host.site.directory / "state" / "locks"
    with (locks / f"{APP}.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        life = locks / f"{host.push().id}.run"
        wait_for(lambda: life.exists() and life.read_text(), what="the deploying process")
        yield int(life.read_text())


@contextmanager
def attached(argv: tuple[str, ...], pid: int) -> Iterator[None]:
    """Let strace look at one process."""
    looker = subprocess.Popen([*argv, "-p", str(pid)], stderr=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: f"TracerPid:\t{looker.pid}\n" in status.read_text(), what="strace")
        yield
    finally:
        looker.terminate()
        looker.wait(30)


@contextmanager
def watched(host: FaultHost, argv: tuple[str, ...]) -> Iterator[None]:
    """Deploy the next version, its process under strace alone."""
    with ExitStack() as stack:
        with waiting_deployer(host) as pid:
            stack.enter_context(attached(argv, pid))
        yield
