"""Killed before every call that renames or links something, and so also after the one before."""

from pathlib import Path

import pytest

from tests.faults.host import APP, FaultHost
from tests.faults.monitor import Monitor
from tests.faults.strace import calls, find_strace, killed, watched
from tests.support.dice import Dice
from tests.support.installation import REQUIREMENTS

pytestmark = pytest.mark.usefixtures("no_leftovers")

HANDOVERS = ("blue-green", "restart")
CALLS = "rename,renameat,renameat2,link,linkat,symlink,symlinkat"


@pytest.fixture(scope="module")
def strace() -> str:
    """Where it is."""
    return find_strace()


@pytest.fixture
def trace(host: FaultHost) -> Path:
    """The calls that strace recorded."""
    return host.site.directory / "trace"


def watching(strace: str, trace: Path, *kill: str) -> tuple[str, ...]:
    """Return strace's command line for these calls and a kill."""
    return (strace, "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *kill)


def kills(trace: Path) -> list[tuple[str, ...]]:
    """Strace's options for a kill before each call that it saw."""
    return [("-e", f"inject={call}:signal=KILL:when={number}") for call, number in calls(trace)]


@pytest.mark.threat(31, 50)
def test_kill_before_each_call(host: FaultHost, monitor: Monitor, dice: Dice, strace: str, trace: Path) -> None:
    with watched(host, watching(strace, trace)):
        host.wait_until_head_serves()
    found = kills(trace)
    assert len(found) >= 4, "the release gets its name and environment, and `current` leads to it"
    cases = dice.some(found, 1)
    for case in cases:
        with watched(host, watching(strace, trace, *case)):
            host.wait_until_head_serves()
        assert killed(trace)
    dice.count(monitor.counted(f"{len(cases)} rounds, {len(cases)} kills, before calls of the deploying process"))


@pytest.mark.threat(13, 19)
def test_kill_of_any_process_before_a_call(
    host: FaultHost, monitor: Monitor, dice: Dice, strace: str, trace: Path
) -> None:
    """Git, uv, Python and all other programs of a deployment too. Without strace, the next push goes live.

    Numbers are counted per process, so a kill at the first call is one of the first process: git's, at its ref. Its
    other process with a first call has that one at the index.
    """
    deploy_all_watched(host, watching(strace, trace))
    index = host.site.directory / "state" / "mirrors" / f"{APP}.git" / "hookd-index.lock"
    cases = dice.some([*kills(trace), ("-P", str(index), "-e", "inject=rename:signal=KILL")], 1)
    died = 0
    for case in cases:
        deploy_all_watched(host, watching(strace, trace, *case))
        died += killed(trace)
        host.tell()
        host.wait_until_head_serves()
    assert died * 2 >= len(cases), "uv shares its work out among threads, so not all numbers come up again"
    dice.count(monitor.counted(f"{len(cases)} rounds, {died} kills, before calls of all processes"))


def deploy_all_watched(host: FaultHost, argv: tuple[str, ...]) -> None:
    """Deploy the next version with an environment of its own, the worker and all that it starts under strace."""
    host.worker.under = (*argv, "-f")
    host.worker.restart()
    host.commit(**{"requirements.txt": f"{REQUIREMENTS}# {host.versions}\n"})
    host.site.wait_for_ending(host.tell().id)
    host.worker.under = ()
    host.worker.restart()
