"""kill -9 of the deploying process, the worker, and both, at each step and at random moments of a deployment."""

import time
from contextlib import ExitStack

import pytest

from hookd.contract.deployment import Deployment
from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.faults.program import Program

VICTIMS = ("deployer", "worker", "both")
HANDOVERS = ("blue-green", "restart")
BEFORE = ("space", "fetch", "checkout", "dependencies", "share", "build", "preflight", "ownership", "flush")
STEPS = {
    "blue-green": (*BEFORE, "start", "health", "switch", "stop old", "prune"),
    "restart": (*BEFORE, "switch", "restart", "health", "prune"),
}


def kill(keeper: Keeper, victim: str) -> int:
    """Kill one of them, or both, the worker first; returns how many were there to be killed."""
    killed = 0
    if victim in ("worker", "both"):
        keeper.worker.kill()
        killed += 1
    if victim in ("deployer", "both"):
        killed += keeper.kill_deployer()
    return killed


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_at_each_step_of_a_deployment(keeper: Keeper, ledger: Ledger, dice: Dice, victim: str) -> None:
    killed, steps = 0, dice.some(STEPS[keeper.handover], 1)
    for step in steps:
        keeper.wait_for_step(keeper.push(), step)
        killed += kill(keeper, victim)
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"{len(steps)} rounds, {killed} kills, of {victim} at {', '.join(steps)}"))


def test_the_next_deployment_does_not_meet_what_a_killed_one_left(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    """Redis was emptied, so a second worker begins with it while the first one builds: only the app's lock is left."""
    victims, killed = dice.some(VICTIMS, 1), 0
    for victim in victims:
        with ExitStack() as stack:
            with keeper.building() as building:
                as_long = seconds_before_its_build(keeper, building)
                with keeper.store.operator() as client:
                    client.flushall()
                stack.enter_context(Program(keeper.site, "second", "worker", "kept-2"))
                following = keeper.push()
                keeper.wait_until_it_runs(following)
                time.sleep(as_long)  # Nobody says that it waits; nothing else would keep it from building by now.
                killed += kill(keeper, victim)
                keeper.wait_for_step(following, "build")
            keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"{len(victims)} rounds, {killed} kills, of {', '.join(victims)} with the next at hand"))


def seconds_before_its_build(keeper: Keeper, deployment: Deployment) -> float:
    """How long a deployment that builds now took from its start to there."""
    record = keeper.site.records.get(deployment.id)
    assert record.started_at is not None
    return (record.steps[-1].started_at - record.started_at).total_seconds()


def test_kills_at_random_moments(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    started = time.monotonic()
    keeper.push()
    keeper.wait_until_head_serves()
    usual = time.monotonic() - started
    killed, rounds = 0, dice.rounds(2)
    for _ in range(rounds):
        keeper.push()
        time.sleep(dice.chance.uniform(0, usual))
        killed += kill(keeper, dice.chance.choice(VICTIMS))
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"{rounds} rounds, {killed} kills, of all at random moments"))
