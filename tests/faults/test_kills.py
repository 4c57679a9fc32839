"""kill -9 of the deploying process, the worker, or both, at each step and at random moments."""

import time
from contextlib import ExitStack
from itertools import product

import pytest

from hookd.model.deployment import Deployment
from tests.faults.host import FaultHost
from tests.faults.monitor import Monitor
from tests.faults.program import Program
from tests.support.dice import Dice

pytestmark = pytest.mark.usefixtures("no_leftovers")

VICTIMS = ("deployer", "worker", "both")
HANDOVERS = ("blue-green", "restart")
BEFORE = ("disk_space", "fetch", "checkout", "dependencies", "shared_files", "build", "preflight", "ownership", "flush")
STEPS = {
    "blue-green": (*BEFORE, "start", "health", "switch", "stop_old", "prune"),
    "restart": (*BEFORE, "switch", "restart", "health", "prune"),
}


def kill(host: FaultHost, victim: str) -> int:
    """Kill one process or both, the worker first, and return the number of kills."""
    killed = 0
    if victim in ("worker", "both"):
        host.worker.kill()
        killed += 1
    if victim in ("deployer", "both"):
        killed += host.kill_deployer()
    return killed


@pytest.mark.threat(13)
def test_kill_at_each_step(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    cases = dice.some(list(product(VICTIMS, STEPS[host.handover])), 2)
    killed = 0
    for victim, step in cases:
        host.wait_for_step(host.push(), step)
        killed += kill(host, victim)
        host.wait_until_head_serves()
    names = "each" if dice.is_long else ", ".join(f"{victim} at {step}" for victim, step in cases)
    dice.count(monitor.summary(f"{len(cases)} rounds, {killed} kills, at steps: {names}"))


@pytest.mark.threat(13)
def test_killed_deployment_leaves_nothing(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Kill a build while a second worker waits for the app's lock, because Redis was emptied."""
    victims, killed = dice.some(VICTIMS, 1), 0
    for victim in victims:
        with ExitStack() as stack:
            with host.building() as building:
                seconds = seconds_until_build(host, building)
                with host.redis.operator() as client:
                    client.flushall()
                stack.enter_context(Program(host.site, "second", "worker", "kept-2"))
                following = host.push()
                host.wait_until_started(following)
                time.sleep(seconds)  # Without the lock it would build by now.
                killed += kill(host, victim)
                host.wait_for_step(following, "build")
            host.wait_until_head_serves()
    dice.count(monitor.summary(f"{len(victims)} rounds, {killed} kills, of {', '.join(victims)} with the next at hand"))


def seconds_until_build(host: FaultHost, deployment: Deployment) -> float:
    """Return the time from a deployment's start to its build."""
    record = host.site.records.get(deployment.id)
    assert record.started_at is not None
    return (record.steps[-1].started_at - record.started_at).total_seconds()


def seconds_of(ended: Deployment) -> float:
    """Return the time from a push to the ending of its deployment."""
    assert ended.ended_at is not None
    return (ended.ended_at - ended.created_at).total_seconds()


@pytest.mark.threat(13)
def test_kills_at_random_moments(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    usual_seconds = seconds_of(host.history()[0])
    killed, rounds = 0, dice.rounds(2)
    for _ in range(rounds):
        host.push()
        time.sleep(dice.chance.uniform(0, usual_seconds))
        killed += kill(host, dice.chance.choice(VICTIMS))
        host.wait_until_head_serves()
    dice.count(monitor.summary(f"{rounds} rounds, {killed} kills, of all at random moments"))
