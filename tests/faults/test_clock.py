"""Clocks of a program or of Redis an hour ahead or behind: nothing runs twice, and pushes go live."""

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
# During a sleep of Python the library shifts the monotonic clock too, which a real clock change does not.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds)
"""


@pytest.fixture(scope="module")
def faketime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that give a program another clock, without the time itself."""
    library = run(program("faketime", "faketime"), "-f", "+0", "printenv", "LD_PRELOAD").stdout.strip()
    directory = tmp_path_factory.mktemp("sleep")
    (directory / "sitecustomize.py").write_text(SLEEP)
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    return {"LD_PRELOAD": library, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": path}


@dataclass(frozen=True)
class Clock:
    """A clock for programs that start with its variables. A test can set it while they run."""

    file: Path
    faketime: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of a program that uses this clock."""
        return {**self.faketime, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1"}

    def set(self, offset: str) -> None:
        """Set the difference from the real clock."""
        self.file.write_text(f"{offset}\n")

    @contextmanager
    def of(self, program: Program) -> Iterator[None]:
        """Run a program with this clock during the block."""
        program.variables = self.variables
        program.restart(signal.SIGTERM)
        yield
        program.variables = {}
        program.restart(signal.SIGTERM)


@pytest.fixture
def clock(host: FaultHost, faketime: dict[str, str]) -> Clock:
    """A clock with the real time."""
    clock = Clock(host.site.directory / "clock", faketime)
    clock.set("+0")
    return clock


@pytest.mark.threat(32)
def test_wrong_clock_restarts_nothing(host: FaultHost, monitor: Monitor, dice: Dice, clock: Clock) -> None:
    """Leave a running job alone. RQ's own worker would start it again within seconds."""
    offsets = dice.some(OFFSETS, 1)
    for offset in offsets:
        clock.set(offset)
        with Program(host.site, "other", "worker", "kept-2") as other, deployed_once(host), clock.of(other):
            wait_until_idle(host, "kept-2")
            assert [one.status for one in host.history() if not one.ended] == [Status.RUNNING]
    dice.count(monitor.summary(f"{len(offsets)} rounds, a second worker's clock at {', '.join(offsets)}"))


@contextmanager
def deployed_once(host: FaultHost) -> Iterator[Deployment]:
    """Push, hold the deployment during the block, and check that it succeeds once."""
    with host.reconciler.held():
        before = len(host.history())
        with host.building() as deployment:
            yield deployment
        host.wait_until_head_serves()
        assert host.site.records.get(deployment.id).status is Status.SUCCEEDED
        assert len(host.history()) == before + 1


def wait_until_idle(host: FaultHost, worker: str) -> None:
    """Wait until a worker has recovered abandoned deployments, which precedes its first idle state."""
    with Redis.from_url(host.redis.url) as client:
        wait_for(lambda: client.hget(f"rq:worker:{worker}", "state") == b"idle", what=f"{worker}, idle")


@pytest.mark.threat(32)
def test_pushes_go_live_with_wrong_clocks(host: FaultHost, monitor: Monitor, dice: Dice, clock: Clock) -> None:
    """Deploy with a wrong clock and after its correction, when recorded times may be an hour ahead."""
    cases = dice.some(list(product(("worker", "reconciler", "both", "receiver"), OFFSETS)), 1)
    for who, offset in cases:
        _push_with_a_wrong_clock(host, clock, who, offset)
    names = ", ".join(f"{who} at {offset}" for who, offset in cases)
    dice.count(monitor.summary(f"{len(cases)} rounds, the clock of {names}"))


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
    """Let all keys expire at once in a jump of an hour."""
    offsets = dice.some(OFFSETS, 1)
    for offset in offsets:
        _deploy_while_the_clock_of_redis_jumps(host, clock, offset)
        host.push()
        host.wait_until_head_serves()
    dice.count(monitor.summary(f"{len(offsets)} rounds, Redis' clock jumps to {', '.join(offsets)}"))


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
