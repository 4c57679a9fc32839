"""Killed before every call that renames or links something, and so also after the one before."""

import fcntl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Dice
from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.support.installation import REQUIREMENTS
from tests.support.processes import wait_for
from tests.support.programs import program

CALLS = "rename,renameat,renameat2,link,linkat,symlink,symlinkat"
HANDOVERS = ("blue-green", "restart")
KILLED = "+++ killed by SIGKILL +++"


@pytest.fixture(scope="module")
def strace() -> str:
    """The program, where this machine lets it look at others."""
    found = program("strace", "strace")
    if subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let strace look at processes")
    return found


@pytest.fixture
def trace(keeper: Keeper) -> Path:
    """What strace saw."""
    return keeper.site.directory / "trace"


def watching(strace: str, trace: Path, case: tuple[str, int] | None) -> tuple[str, ...]:
    """Strace that kills a process before its call of this name and number, or none."""
    inject = ("-e", f"inject={case[0]}:signal=KILL:when={case[1]}") if case else ()
    return (strace, "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *inject)


def calls(trace: Path) -> list[tuple[str, int]]:
    """Name the calls that strace saw, each with its number: that of its process, where it saw several."""
    found: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    for before, bracket, _ in (line.partition("(") for line in trace.read_text().splitlines()):
        call = before.split()[-1:]
        if bracket and call and call[0] in CALLS.split(","):
            seen[before] += 1
            found.append((call[0], seen[before]))
    return list(dict.fromkeys(found))


@contextmanager
def waiting_deployer(keeper: Keeper) -> Iterator[int]:
    """A process that deploys the next version, and waits for the app's lock for as long as the block."""
    locks = keeper.site.directory / "state" / "locks"
    with (locks / f"{APP}.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        life = locks / f"{keeper.push().id}.run"
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


def deploy_watched(keeper: Keeper, argv: tuple[str, ...]) -> None:
    """Deploy the next version, its process under strace alone, and wait until it serves."""
    with ExitStack() as stack:
        with waiting_deployer(keeper) as pid:
            stack.enter_context(attached(argv, pid))
        keeper.wait_until_head_serves()


def test_the_deploying_process_is_killed_at_each_of_its_own_calls(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    deploy_watched(keeper, watching(strace, trace, None))
    found = calls(trace)
    assert len(found) >= 4, "the release gets its name and environment, and `current` leads to it"
    cases = dice.some(found, 2)
    for case in cases:
        deploy_watched(keeper, watching(strace, trace, case))
        assert KILLED in trace.read_text()
    dice.count(ledger.counted(f"the deploying process killed before {len(cases)} of its {len(found)} calls"))


def test_each_process_of_a_deployment_is_killed_at_a_call(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    """Also git, uv, Python and whatever else a deployment starts; without strace, the next push goes live."""
    deploy_all_watched(keeper, watching(strace, trace, None))
    found = calls(trace)
    cases = dice.some(found, 2)
    for case in cases:
        deploy_all_watched(keeper, watching(strace, trace, case))
        assert KILLED in trace.read_text()
        keeper.tell()
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"each process killed before {len(cases)} of {len(found)} calls"))


def deploy_all_watched(keeper: Keeper, argv: tuple[str, ...]) -> None:
    """Deploy the next version with an environment of its own, the worker and all that it starts under strace."""
    keeper.worker.under = (*argv, "-f", "--seccomp-bpf")
    keeper.worker.restart()
    keeper.commit(**{"requirements.txt": f"{REQUIREMENTS}# {keeper.versions}\n"})
    keeper.site.wait_for_ending(keeper.tell().id)
    keeper.worker.under = ()
    keeper.worker.restart()
