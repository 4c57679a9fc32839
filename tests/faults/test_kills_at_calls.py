"""Kills before every call that renames or links, and so also after the call before it."""

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
    """The strace program."""
    return find_strace()


@pytest.fixture
def trace(host: FaultHost) -> Path:
    """The calls that strace recorded."""
    return host.site.directory / "trace"


def watching(strace: str, trace: Path, *kill: str) -> tuple[str, ...]:
    """Return strace's command line for these calls and a kill."""
    return (strace, "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *kill)


def kills(trace: Path) -> list[tuple[str, ...]]:
    """Return strace's options for a kill before each recorded call."""
    return [("-e", f"inject={call}:signal=KILL:when={number}") for call, number in calls(trace)]


@pytest.mark.threat(31, 50)
def test_kill_before_each_call(host: FaultHost, monitor: Monitor, dice: Dice, strace: str, trace: Path) -> None:
    with watched(host, watching(strace, trace)):
        host.wait_until_head_serves()
    all_kills = kills(trace)
    assert len(all_kills) >= 4, "a deployment names its release and environment, and links `current`"
    cases = dice.some(all_kills, 1)
    for case in cases:
        with watched(host, watching(strace, trace, *case)):
            host.wait_until_head_serves()
        assert killed(trace)
    dice.count(monitor.summary(f"{len(cases)} rounds, {len(cases)} kills, before calls of the deploying process"))


@pytest.mark.threat(13, 19)
def test_kill_of_any_process(host: FaultHost, monitor: Monitor, dice: Dice, strace: str, trace: Path) -> None:
    """Kill git, uv, Python and all other programs of a deployment. The next push goes live.

    Calls are numbered per process, so a kill at the first call ends git at its ref. A separate case ends git at its
    index.
    """
    deploy_under_strace(host, watching(strace, trace))
    index = host.site.directory / "state" / "mirrors" / f"{APP}.git" / "hookd-index.lock"
    cases = dice.some([*kills(trace), ("-P", str(index), "-e", "inject=rename:signal=KILL")], 1)
    killed_rounds = 0
    for case in cases:
        deploy_under_strace(host, watching(strace, trace, *case))
        killed_rounds += killed(trace)
        host.deliver()
        host.wait_until_head_serves()
    assert killed_rounds * 2 >= len(cases), "uv works in threads, so some numbers do not occur again"
    dice.count(monitor.summary(f"{len(cases)} rounds, {killed_rounds} kills, before calls of all processes"))


def deploy_under_strace(host: FaultHost, argv: tuple[str, ...]) -> None:
    """Deploy the next version in a new environment, with the worker and all its processes under strace."""
    host.worker.under = (*argv, "-f")
    host.worker.restart()
    host.commit(**{"requirements.txt": f"{REQUIREMENTS}# {host.versions}\n"})
    host.site.wait_for_ending(host.deliver().id)
    host.worker.under = ()
    host.worker.restart()
