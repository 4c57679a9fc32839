"""kill -9 of the deploying process, the worker, and both, at each step and at random moments of a deployment."""

import time

import pytest

from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger

VICTIMS = ("deployer", "worker", "both")
STEPS = ("space", "fetch", "files", "dependencies", "links", "build", "preflight", "ownership", "flush", "start",
         "health", "switch", "stop old", "prune")  # fmt: skip


def kill(keeper: Keeper, victim: str) -> None:
    """Kill one of them, or the worker and then what it deploys with."""
    if victim in ("worker", "both"):
        keeper.worker.kill()
    if victim in ("deployer", "both"):
        keeper.kill_deployer()


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_at_each_step_of_a_deployment(keeper: Keeper, ledger: Ledger, dice: Dice, victim: str) -> None:
    steps = dice.some(STEPS, 3)
    for step in steps:
        keeper.wait_for_step(keeper.push(), step)
        kill(keeper, victim)
        keeper.wait_until_head_serves()
    dice.count(f"kill -9 of {victim} at {len(steps)} steps: {ledger.counted()}")


def test_kills_at_random_moments(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    started = time.monotonic()
    keeper.push()
    keeper.wait_until_head_serves()
    usual = time.monotonic() - started
    rounds = dice.rounds(6)
    for _ in range(rounds):
        keeper.push()
        time.sleep(dice.chance.uniform(0, usual))
        kill(keeper, dice.chance.choice(VICTIMS))
        keeper.wait_until_head_serves()
    dice.count(f"kill -9 at {rounds} random moments: {ledger.counted()}, lost pushes 0")
