"""Clocks that are an hour ahead or behind, of one program or of Redis: nothing runs twice, and pushes go live."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from redis import Redis

from hookd.contract.deployment import Deployment, Status
from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.faults.program import Program
from tests.support.processes import wait_for
from tests.support.programs import program, run

OFFSETS = ("+1h", "-1h")
# A clock that is set leaves the monotonic one alone; this library would make threads wait for ever by it.
LIES = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}


@pytest.fixture(scope="module")
def faketime() -> str:
    """The library that lies about the time."""
    return run(program("faketime", "faketime"), "-f", "+0", "printenv", "LD_PRELOAD").stdout.strip()


@contextmanager
def off(kept: Program, faketime: str, offset: str) -> Iterator[None]:
    """Let a program have another clock for as long as the block."""
    kept.variables = {**LIES, "LD_PRELOAD": faketime, "FAKETIME": offset}
    kept.restart(signal.SIGTERM)
    yield
    kept.variables = {}
    kept.restart(signal.SIGTERM)


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_worker_of_another_time_starts_nothing_that_runs(
    keeper: Keeper, ledger: Ledger, dice: Dice, faketime: str, offset: str
) -> None:
    """RQ's own takes a job for abandoned when its clock says so: it would start it again within seconds."""
    with (
        Program(keeper.site, "other", "worker", "kept-2") as other,
        deployed_once(keeper),
        off(other, faketime, offset),
    ):
        wait_until_it_has_looked(keeper, "kept-2")
        assert [one.status for one in keeper.history() if not one.ended] == [Status.RUNNING]
    dice.count(ledger.counted(f"1 round, a second worker's clock at {offset}"))


@contextmanager
def deployed_once(keeper: Keeper) -> Iterator[Deployment]:
    """Push; the deployment runs for as long as the block, ends well, and none follows."""
    with keeper.reconciler.held():
        before = len(keeper.history())
        with keeper.building() as deployment:
            yield deployment
        keeper.wait_until_head_serves()
        assert keeper.site.records.get(deployment.id).status is Status.SUCCEEDED
        assert len(keeper.history()) == before + 1


def wait_until_it_has_looked(keeper: Keeper, worker: str) -> None:
    """A worker looks after what others abandoned before it waits for its first job."""
    with Redis.from_url(keeper.store.url) as client:
        wait_for(lambda: client.hget(f"rq:worker:{worker}", "state") == b"idle", what=f"{worker}, idle")


@pytest.mark.parametrize("offset", OFFSETS)
def test_pushes_go_live_whatever_the_clocks_say(
    keeper: Keeper, ledger: Ledger, dice: Dice, faketime: str, offset: str
) -> None:
    """While a clock is wrong, and when it is right again: then what was noted may lie an hour ahead."""
    cases = dice.some(("worker", "reconciler", "both", "receiver"), 1)
    for who in cases:
        _push_with_a_wrong_clock(keeper, faketime, who, offset)
    dice.count(ledger.counted(f"{len(cases)} rounds, the clock of {', '.join(cases)} at {offset}"))


def _push_with_a_wrong_clock(keeper: Keeper, faketime: str, who: str, offset: str) -> None:
    programs = {"both": [keeper.worker, keeper.reconciler]}.get(who) or [getattr(keeper, who)]
    with ExitStack() as wrong:
        for one in programs:
            wrong.enter_context(off(one, faketime, offset))
        wait_for(keeper.listens, what="the receiver")
        keeper.push()
        keeper.wait_until_head_serves()
    wait_for(keeper.listens, what="the receiver")
    keeper.commit()
    keeper.wait_until_head_serves()
    keeper.push()
    keeper.wait_until_head_serves()


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_redis_whose_clock_jumps_while_a_deployment_runs(
    keeper: Keeper, ledger: Ledger, dice: Dice, faketime: str, offset: str
) -> None:
    """With an hour in one moment, everything that is to expire does."""
    clock = keeper.site.directory / "clock"
    clock.write_text("+0\n")
    keeper.store.variables = {**LIES, "LD_PRELOAD": faketime, "FAKETIME_TIMESTAMP_FILE": str(clock)}
    keeper.store.restart()
    with deployed_once(keeper) as deployment:
        clock.write_text(f"{offset}\n")
        with keeper.store.operator() as client:
            wait_for(lambda: abs(client.time()[0] - deployment.created_at.timestamp()) > 1800, what="the jump")
    keeper.store.variables = {}
    keeper.store.restart()
    keeper.push()
    keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"1 round, Redis' clock jumps to {offset}"))
