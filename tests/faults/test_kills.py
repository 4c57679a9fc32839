"""kill -9 of the deploying process, the worker, and both, at each step and at random moments of a deployment."""

import time

import pytest

from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger

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
    killed, steps = 0, dice.some(STEPS[keeper.handover], 2)
    for step in steps:
        keeper.wait_for_step(keeper.push(), step)
        killed += kill(keeper, victim)
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"kill -9 of {victim} at {', '.join(steps)}, {killed} killed"))


def test_kills_at_random_moments(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    started = time.monotonic()
    keeper.push()
    keeper.wait_until_head_serves()
    usual = time.monotonic() - started
    killed, rounds = 0, dice.rounds(4)
    for _ in range(rounds):
        keeper.push()
        time.sleep(dice.chance.uniform(0, usual))
        killed += kill(keeper, dice.chance.choice(VICTIMS))
        keeper.wait_until_head_serves()
    dice.count(ledger.counted(f"kill -9 at {rounds} random moments, {killed} killed"))
