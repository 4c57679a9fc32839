"""Deliveries that are lost, doubled, late, old or many at once: no push is lost, none runs twice, the head wins."""

import http.client
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from hookd.contract.deployment import Status, Trigger
from tests.faults.conftest import Dice
from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.support.installation import gitea_headers
from tests.support.processes import wait_for

TAKEN = (200, 202)


@pytest.fixture
def alone(keeper: Keeper) -> Iterator[None]:
    """Nobody looks after lost pushes: what goes live here does so by its delivery."""
    with keeper.reconciler.held():
        yield


def deliver(keeper: Keeper, delivery: str, after: str | None = None) -> tuple[int, dict[str, Any]]:
    """Send one delivery; status 0 stands for a request that got no answer."""
    event = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": after or keeper.site.repositories[APP].head(),
        "repository": {"full_name": f"acme/{APP}"},
    }
    body = json.dumps(event).encode()
    try:
        return keeper.site.post(f"/hooks/{APP}", body, gitea_headers(body, delivery=delivery))[:2]
    except (OSError, http.client.HTTPException):
        return 0, {}


def insist(keeper: Keeper, delivery: str, after: str | None = None) -> dict[str, Any]:
    """Send one delivery until it is taken, as senders and the people behind them do."""
    answers: list[dict[str, Any]] = []

    def taken() -> bool:
        status, answer = deliver(keeper, delivery, after)
        answers.append(answer)
        return status in TAKEN

    wait_for(taken, what=f"an answer to {delivery}")
    return answers[-1]


def taken_since(keeper: Keeper, before: set[str]) -> int:
    """How many deliveries the records know of that were made since: their own and those that joined them."""
    new = [record for record in keeper.history() if record.id not in before]
    return sum(record.joined + 1 for record in new if record.trigger in (Trigger.PUSH, Trigger.REDELIVERY))


def known(keeper: Keeper) -> set[str]:
    return {record.id for record in keeper.history()}


def test_pushes_that_nobody_told_of_go_live(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    lost = dice.rounds(2)
    for _ in range(lost):
        keeper.commit()
        keeper.wait_until_head_serves()
        assert keeper.history()[0].trigger is Trigger.RECONCILE
    dice.count(ledger.counted(f"{lost} lost deliveries"))


@pytest.mark.usefixtures("alone")
def test_a_delivery_that_comes_a_hundred_times_runs_once(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    """Before, while and after it runs, and from two senders at once."""
    before = known(keeper)
    keeper.commit()
    with ThreadPoolExecutor(2) as senders:
        answers = list(senders.map(lambda _: deliver(keeper, "again"), range(100)))
    assert {status for status, _ in answers} <= set(TAKEN)
    assert len({answer["deployment"] for _, answer in answers}) == 1
    keeper.wait_until_head_serves()
    assert deliver(keeper, "again")[1]["status"] == "duplicate"
    assert len(known(keeper) - before) == 1
    dice.count(ledger.counted("one delivery sent 101 times"))


@pytest.mark.usefixtures("alone")
def test_deliveries_out_of_order_and_of_old_commits_bring_the_head(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    before = known(keeper)
    commits = []
    for _ in range(6):
        keeper.commit()
        commits.append(keeper.site.repositories[APP].head())
    dice.chance.shuffle(commits)
    for number, commit in enumerate(commits):
        insist(keeper, f"mixed-{keeper.versions}-{number}", commit)
    keeper.wait_until_head_serves()
    assert taken_since(keeper, before) == len(commits)
    serving = keeper.site.current(APP)
    insist(keeper, f"late-{keeper.versions}", commits[0])
    keeper.wait_until_head_serves()
    assert keeper.history()[0].status is Status.UNCHANGED
    assert keeper.site.current(APP) == serving, "an old delivery does not bring an old commit"
    dice.count(ledger.counted("deliveries out of order and of old commits"))


@pytest.mark.usefixtures("alone")
def test_two_senders_at_once_lose_nothing(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    before, rounds = known(keeper), dice.rounds(20)
    keeper.commit()

    def send(sender: str) -> Counter[int]:
        return Counter(deliver(keeper, f"{sender}-{keeper.versions}-{number}")[0] for number in range(rounds))

    with ThreadPoolExecutor(2) as senders:
        statuses = sum(senders.map(send, ("ann", "bob")), Counter[int]())
    assert set(statuses) <= set(TAKEN), statuses
    keeper.wait_until_head_serves()
    assert taken_since(keeper, before) == 2 * rounds
    dice.count(ledger.counted(f"{2 * rounds} deliveries of two senders at once"))


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_receiver_that_is_started_again_meanwhile_loses_nothing(
    keeper: Keeper, ledger: Ledger, dice: Dice, sig: signal.Signals
) -> None:
    """What it answered with 202 stands; what got no answer is sent again, and runs once all the same."""
    before, deliveries = known(keeper), dice.rounds(20) * 3
    keeper.commit()
    with restarting(keeper, sig, dice.rounds(2)) as done:
        sent = 0
        while sent < deliveries or not done.is_set():
            insist(keeper, f"{sig.name}-{keeper.versions}-{sent}")
            sent += 1
    keeper.wait_until_head_serves()
    assert taken_since(keeper, before) == sent
    dice.count(ledger.counted(f"{sent} deliveries while the receiver ends by {sig.name} again and again"))


@contextmanager
def restarting(keeper: Keeper, sig: signal.Signals, times: int) -> Iterator[threading.Event]:
    """End the receiver some times, and let it come back each time."""
    done = threading.Event()

    def restart() -> None:
        for _ in range(times):
            keeper.receiver.restart(sig)
            wait_for(keeper.listens, what="the receiver")
        done.set()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield done
    finally:
        thread.join()
