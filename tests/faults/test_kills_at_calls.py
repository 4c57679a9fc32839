"""Killed before every call that renames or links something, and so also after the one before."""

from pathlib import Path

import pytest

from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.faults.looker import calls, find_strace, killed, watched
from tests.support.dice import Dice
from tests.support.installation import REQUIREMENTS

pytestmark = pytest.mark.usefixtures("tidy")

HANDOVERS = ("blue-green", "restart")
CALLS = "rename,renameat,renameat2,link,linkat,symlink,symlinkat"


@pytest.fixture(scope="module")
def strace() -> str:
    """Where it is."""
    return find_strace()


@pytest.fixture
def trace(keeper: Keeper) -> Path:
    """What strace saw."""
    return keeper.site.directory / "trace"


def watching(strace: str, trace: Path, *kill: str) -> tuple[str, ...]:
    """Strace that looks at these calls, and kills as it is told."""
    return (strace, "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *kill)


def kills(trace: Path) -> list[tuple[str, ...]]:
    """Strace's options for a kill before each call that it saw."""
    return [("-e", f"inject={call}:signal=KILL:when={number}") for call, number in calls(trace)]


@pytest.mark.threat(31, 50)
def test_the_deploying_process_is_killed_at_each_of_its_own_calls(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    with watched(keeper, watching(strace, trace)):
        keeper.wait_until_head_serves()
    found = kills(trace)
    assert len(found) >= 4, "the release gets its name and environment, and `current` leads to it"
    cases = dice.some(found, 1)
    for case in cases:
        with watched(keeper, watching(strace, trace, *case)):
            keeper.wait_until_head_serves()
        assert killed(trace)
    dice.count(ledger.counted(f"{len(cases)} rounds, {len(cases)} kills, before calls of the deploying process"))


@pytest.mark.threat(13, 19)
def test_each_process_of_a_deployment_is_killed_at_a_call(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    """Also git, uv, Python and whatever else a deployment starts; without strace, the next push goes live.

    Numbers are counted per process, so a kill at the first call is one of the first process: git's, at its ref. Its
    other process with a first call has that one at the index.
    """
    deploy_all_watched(keeper, watching(strace, trace))
    index = keeper.site.directory / "state" / "mirrors" / f"{APP}.git" / "hookd-index.lock"
    cases = dice.some([*kills(trace), ("-P", str(index), "-e", "inject=rename:signal=KILL")], 1)
    died = 0
    for case in cases:
        deploy_all_watched(keeper, watching(strace, trace, *case))
        died += killed(trace)
        keeper.tell()
        keeper.wait_until_head_serves()
    assert died * 2 >= len(cases), "uv shares its work out among threads, so not all numbers come up again"
    dice.count(ledger.counted(f"{len(cases)} rounds, {died} kills, before calls of all processes"))


def deploy_all_watched(keeper: Keeper, argv: tuple[str, ...]) -> None:
    """Deploy the next version with an environment of its own, the worker and all that it starts under strace."""
    keeper.worker.under = (*argv, "-f")
    keeper.worker.restart()
    keeper.commit(**{"requirements.txt": f"{REQUIREMENTS}# {keeper.versions}\n"})
    keeper.site.wait_for_ending(keeper.tell().id)
    keeper.worker.under = ()
    keeper.worker.restart()
