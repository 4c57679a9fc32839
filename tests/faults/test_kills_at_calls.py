"""Killed before every call that renames or links something, and so also after the one before."""

from pathlib import Path

import pytest

from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.faults.looker import KILLED, calls, find_strace, watched
from tests.support.installation import REQUIREMENTS

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


def watching(strace: str, trace: Path, case: tuple[str, int] | None) -> tuple[str, ...]:
    """Strace that kills a process before its call of this name and number, or none."""
    inject = ("-e", f"inject={case[0]}:signal=KILL:when={case[1]}") if case else ()
    return (strace, "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *inject)


def test_the_deploying_process_is_killed_at_each_of_its_own_calls(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    with watched(keeper, watching(strace, trace, None)):
        keeper.wait_until_head_serves()
    found = calls(trace)
    assert len(found) >= 4, "the release gets its name and environment, and `current` leads to it"
    cases = dice.some(found, 1)
    for case in cases:
        with watched(keeper, watching(strace, trace, case)):
            keeper.wait_until_head_serves()
        assert KILLED in trace.read_text()
    dice.count(
        ledger.counted(
            f"{len(cases)} rounds, each with a kill of the deploying process before one of its {len(found)} calls"
        )
    )


def test_each_process_of_a_deployment_is_killed_at_a_call(
    keeper: Keeper, ledger: Ledger, dice: Dice, strace: str, trace: Path
) -> None:
    """Also git, uv, Python and whatever else a deployment starts; without strace, the next push goes live."""
    deploy_all_watched(keeper, watching(strace, trace, None))
    found = calls(trace)
    cases = dice.some(found, 1)
    for case in cases:
        deploy_all_watched(keeper, watching(strace, trace, case))
        assert KILLED in trace.read_text()
        keeper.tell()
        keeper.wait_until_head_serves()
    dice.count(
        ledger.counted(f"{len(cases)} rounds, each with a kill of a process before one of their {len(found)} calls")
    )


def deploy_all_watched(keeper: Keeper, argv: tuple[str, ...]) -> None:
    """Deploy the next version with an environment of its own, the worker and all that it starts under strace."""
    keeper.worker.under = (*argv, "-f", "--seccomp-bpf")
    keeper.worker.restart()
    keeper.commit(**{"requirements.txt": f"{REQUIREMENTS}# {keeper.versions}\n"})
    keeper.site.wait_for_ending(keeper.tell().id)
    keeper.worker.under = ()
    keeper.worker.restart()
