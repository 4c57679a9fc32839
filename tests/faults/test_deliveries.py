"""Deliveries that are lost, doubled, late, old or many at once: no push is lost, none runs twice, the head wins."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hookd.model.deployment import Status, Trigger
from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.faults.sender import TAKEN, deliver, insist
from tests.support.dice import Dice
from tests.support.processes import wait_for

# A round makes fewer deployments than records are kept.
A_ROUND = 20


def taken_since(keeper: Keeper, before: set[str]) -> int:
    """How many deliveries the records know of that were made since: their own and those that joined them."""
    new = [record for record in keeper.history() if record.id not in before]
    return sum(record.coalesced + 1 for record in new if record.trigger in (Trigger.PUSH, Trigger.REDELIVERY))


def known(keeper: Keeper) -> set[str]:
    """The deployments that there are."""
    return {record.id for record in keeper.history()}


@pytest.mark.threat(5)
def test_pushes_that_nobody_told_of_go_live(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    lost = dice.rounds(1)
    for _ in range(lost):
        keeper.commit()
        keeper.wait_until_head_serves()
        assert keeper.history()[0].trigger is Trigger.RECONCILE
    dice.count(ledger.counted(f"{lost} rounds, each a lost delivery"))


@pytest.mark.threat(4)
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
    dice.count(ledger.counted("1 round, one delivery sent 101 times"))


@pytest.mark.threat(6)
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
    dice.count(ledger.counted("1 round, deliveries out of order and of old commits"))


@pytest.mark.threat(6)
@pytest.mark.usefixtures("alone")
def test_two_senders_at_once_lose_nothing(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    before, rounds = known(keeper), dice.rounds(A_ROUND)
    keeper.commit()

    def send(sender: str) -> Counter[int]:
        return Counter(deliver(keeper, f"{sender}-{keeper.versions}-{number}")[0] for number in range(rounds))

    with ThreadPoolExecutor(2) as senders:
        statuses = sum(senders.map(send, ("ann", "bob")), Counter[int]())
    assert set(statuses) <= set(TAKEN), statuses
    keeper.wait_until_head_serves()
    assert taken_since(keeper, before) == 2 * rounds
    dice.count(ledger.counted(f"1 round, {2 * rounds} deliveries of two senders at once"))


@pytest.mark.threat(45)
@pytest.mark.usefixtures("alone")
def test_a_receiver_that_is_started_again_meanwhile_loses_nothing(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    """What it answered with 202 stands; what got no answer is sent again, and runs once all the same."""
    rounds, sent = dice.rounds(1), 0
    for _ in range(rounds):
        sent += send_while_restarting(keeper, dice.chance.choice((signal.SIGKILL, signal.SIGTERM)))
    dice.count(ledger.counted(f"{rounds} rounds, {rounds} kills, of the receiver under {sent} deliveries"))


def send_while_restarting(keeper: Keeper, sig: signal.Signals) -> int:
    """Send deliveries until the receiver is there again; returns how many."""
    before, sent = known(keeper), 0
    keeper.commit()
    with restarting(keeper, sig) as done:
        while sent < A_ROUND or not done.is_set():
            insist(keeper, f"{sig.name}-{keeper.versions}-{sent}")
            sent += 1
    keeper.wait_until_head_serves()
    assert taken_since(keeper, before) == sent
    return sent


@contextmanager
def restarting(keeper: Keeper, sig: signal.Signals) -> Iterator[threading.Event]:
    """End the receiver, and let it come back."""
    done = threading.Event()

    def restart() -> None:
        try:
            keeper.receiver.restart(sig)
            wait_for(keeper.listens, what="the receiver")
        finally:
            done.set()

    with ThreadPoolExecutor(1) as other:
        restarted = other.submit(restart)
        yield done
        restarted.result()


def push(keeper: Keeper) -> None:
    """A push as it should be."""
    keeper.commit()
    deliver(keeper)


def lost(keeper: Keeper) -> None:
    """A push that nobody tells of."""
    keeper.commit()


def doubled(keeper: Keeper) -> None:
    """A push that is told of twice."""
    keeper.commit()
    for _ in range(2):
        deliver(keeper, f"doubled-{keeper.versions}")


def old(keeper: Keeper) -> None:
    """A delivery of a commit that was the head long ago."""
    first = keeper.site.repositories[APP].git("rev-list", "--max-parents=0", "HEAD").strip()
    deliver(keeper, after=first)


def kill(keeper: Keeper) -> None:
    """The receiver's end, whatever it is at."""
    keeper.receiver.kill()


HAPPENINGS: tuple[Callable[[Keeper], None], ...] = (push, lost, doubled, old, kill)


@pytest.mark.threat(6)
def test_whatever_happens_to_deliveries_the_head_wins(keeper: Keeper, ledger: Ledger, dice: Dice) -> None:
    """In any order, while deployments run and wait."""
    rounds, kills = dice.rounds(1), 0
    for _ in range(rounds):
        happenings = dice.chance.choices(HAPPENINGS, k=A_ROUND)
        kills += happenings.count(kill)
        for happening in happenings:
            happening(keeper)
        keeper.wait_until_head_serves()
    wait_for(keeper.listens, what="the receiver")
    dice.count(ledger.counted(f"{rounds} rounds, {kills} kills, of the receiver among lost and old deliveries"))
