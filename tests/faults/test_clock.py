"""Clocks that are an hour ahead or behind, of one program or of Redis: nothing runs twice, and pushes go live."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from redis import Redis

from hookd.model.deployment import Deployment, Status
from tests.faults.host import FaultHost
from tests.faults.monitor import Monitor
from tests.faults.program import Program
from tests.support.dice import Dice
from tests.support.processes import wait_for
from tests.support.programs import program, run

OFFSETS = ("+1h", "-1h")
# Where Python sleeps, the library shifts the monotonic clock, too, which a clock that is set leaves alone.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds)
"""


@pytest.fixture(scope="module")
def faketime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that let a program take another time for the right one: all but the time itself."""
    library = run(program("faketime", "faketime"), "-f", "+0", "printenv", "LD_PRELOAD").stdout.strip()
    directory = tmp_path_factory.mktemp("sleep")
    (directory / "sitecustomize.py").write_text(SLEEP)
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    return {"LD_PRELOAD": library, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": path}


@dataclass(frozen=True)
class Clock:
    """A clock for the programs that start with its variables. It can be set while they run."""

    file: Path
    faketime: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of a program that uses this clock."""
        return {**self.faketime, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1"}

    def set(self, offset: str) -> None:
        """Let it differ so much from the right one."""
        self.file.write_text(f"{offset}\n")

    @contextmanager
    def of(self, kept: Program) -> Iterator[None]:
        """Let a program go by it for as long as the block."""
        kept.variables = self.variables
        kept.restart(signal.SIGTERM)
        yield
        kept.variables = {}
        kept.restart(signal.SIGTERM)


@pytest.fixture
def clock(host: FaultHost, faketime: dict[str, str]) -> Clock:
    """A clock that is right so far."""
    made = Clock(host.site.directory / "clock", faketime)
    made.set("+0")
    return made


@pytest.mark.threat(32)
def test_worker_with_a_wrong_clock_starts_nothing(host: FaultHost, monitor: Monitor, dice: Dice, clock: Clock) -> None:
    """RQ's own takes a job for abandoned when its clock says so: it would start it again within seconds."""
    offsets = dice.some(OFFSETS, 1)
    for offset in offsets:
        clock.set(offset)
        with Program(host.site, "other", "worker", "kept-2") as other, deployed_once(host), clock.of(other):
            wait_until_it_has_looked(host, "kept-2")
            assert [one.status for one in host.history() if not one.ended] == [Status.RUNNING]
    dice.count(monitor.counted(f"{len(offsets)} rounds, a second worker's clock at {', '.join(offsets)}"))


@contextmanager
def deployed_once(host: FaultHost) -> Iterator[Deployment]:
    """Push. The deployment runs for as long as the block, ends well, and none follows."""
    with host.reconciler.held():
        before = len(host.history())
        with host.building() as deployment:
            yield deployment
        host.wait_until_head_serves()
        assert host.site.records.get(deployment.id).status is Status.SUCCEEDED
        assert len(host.history()) == before + 1


def wait_until_it_has_looked(host: FaultHost, worker: str) -> None:
    """A worker looks after what others abandoned before it waits for its first job."""
    with Redis.from_url(host.redis.url) as client:
        wait_for(lambda: client.hget(f"rq:worker:{worker}", "state") == b"idle", what=f"{worker}, idle")


@pytest.mark.threat(32)
def test_pushes_go_live_with_wrong_clocks(host: FaultHost, monitor: Monitor, dice: Dice, clock: Clock) -> None:
    """While a clock is wrong, and when it is right again: then what was noted may lie an hour ahead."""
    cases = dice.some(list(product(("worker", "reconciler", "both", "receiver"), OFFSETS)), 1)
    for who, offset in cases:
        _push_with_a_wrong_clock(host, clock, who, offset)
    told = ", ".join(f"{who} at {offset}" for who, offset in cases)
    dice.count(monitor.counted(f"{len(cases)} rounds, the clock of {told}"))


def _push_with_a_wrong_clock(host: FaultHost, clock: Clock, who: str, offset: str) -> None:
    programs = {"both": [host.worker, host.reconciler]}.get(who) or [getattr(host, who)]
    with ExitStack() as stack:
        for one in programs:
            stack.enter_context(clock.of(one))
        wait_for(host.listens, what="the receiver")
        clock.set(offset)
        host.push()
        host.wait_until_head_serves()
        clock.set("+0")
        host.commit()
        host.wait_until_head_serves()
        host.push()
        host.wait_until_head_serves()
    wait_for(host.listens, what="the receiver")


@pytest.mark.threat(32)
def test_clock_of_redis_jumps(host: FaultHost, monitor: Monitor, dice: Dice, clock: Clock) -> None:
    """With an hour in one moment, everything that is to expire does."""
    offsets = dice.some(OFFSETS, 1)
    for offset in offsets:
        _deploy_while_the_clock_of_redis_jumps(host, clock, offset)
        host.push()
        host.wait_until_head_serves()
    dice.count(monitor.counted(f"{len(offsets)} rounds, Redis' clock jumps to {', '.join(offsets)}"))


def _deploy_while_the_clock_of_redis_jumps(host: FaultHost, clock: Clock, offset: str) -> None:
    clock.set("+0")
    host.redis.variables = clock.variables
    host.redis.restart()
    with deployed_once(host) as deployment:
        clock.set(offset)
        with host.redis.operator() as client:
            wait_for(lambda: abs(client.time()[0] - deployment.created_at.timestamp()) > 1800, what="the jump")
    host.redis.variables = {}
    host.redis.restart()
