"""Deliveries that are lost, doubled, late, old or many at once: no push is lost, none runs twice, the head wins."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hookd.model.deployment import Status, Trigger
from tests.faults.host import APP, FaultHost
from tests.faults.monitor import Monitor
from tests.faults.sender import TAKEN, deliver, insist
from tests.support.dice import Dice
from tests.support.processes import wait_for

# A round makes fewer deployments than records are kept.
A_ROUND = 20


def taken_since(host: FaultHost, before: set[str]) -> int:
    """How many deliveries the records know of that were made since: their own and those that joined them."""
    new = [record for record in host.history() if record.id not in before]
    return sum(record.coalesced + 1 for record in new if record.trigger in (Trigger.PUSH, Trigger.REDELIVERY))


def known(host: FaultHost) -> set[str]:
    """The deployments that there are."""
    return {record.id for record in host.history()}


@pytest.mark.threat(5)
def test_lost_deliveries_go_live(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    lost = dice.rounds(1)
    for _ in range(lost):
        host.commit()
        host.wait_until_head_serves()
        assert host.history()[0].trigger is Trigger.RECONCILE
    dice.count(monitor.counted(f"{lost} rounds, each a lost delivery"))


@pytest.mark.threat(4)
@pytest.mark.usefixtures("no_reconciler")
def test_repeated_delivery_runs_once(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Before, while and after it runs, and from two senders at once."""
    before = known(host)
    host.commit()
    with ThreadPoolExecutor(2) as senders:
        answers = list(senders.map(lambda _: deliver(host, "again"), range(100)))
    assert {status for status, _ in answers} <= set(TAKEN)
    assert len({answer["deployment"] for _, answer in answers}) == 1
    host.wait_until_head_serves()
    assert deliver(host, "again")[1]["status"] == "duplicate"
    assert len(known(host) - before) == 1
    dice.count(monitor.counted("1 round, one delivery sent 101 times"))


@pytest.mark.threat(6)
@pytest.mark.usefixtures("no_reconciler")
def test_unordered_deliveries_deploy_the_head(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    before = known(host)
    commits = []
    for _ in range(6):
        host.commit()
        commits.append(host.site.repositories[APP].head())
    dice.chance.shuffle(commits)
    for number, commit in enumerate(commits):
        insist(host, f"mixed-{host.versions}-{number}", commit)
    host.wait_until_head_serves()
    assert taken_since(host, before) == len(commits)
    serving = host.site.current(APP)
    insist(host, f"late-{host.versions}", commits[0])
    host.wait_until_head_serves()
    assert host.history()[0].status is Status.UNCHANGED
    assert host.site.current(APP) == serving, "an old delivery does not bring an old commit"
    dice.count(monitor.counted("1 round, deliveries out of order and of old commits"))


@pytest.mark.threat(6)
@pytest.mark.usefixtures("no_reconciler")
def test_two_senders_at_once_lose_nothing(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    before, rounds = known(host), dice.rounds(A_ROUND)
    host.commit()

    def send(sender: str) -> Counter[int]:
        return Counter(deliver(host, f"{sender}-{host.versions}-{number}")[0] for number in range(rounds))

    with ThreadPoolExecutor(2) as senders:
        statuses = sum(senders.map(send, ("ann", "bob")), Counter[int]())
    assert set(statuses) <= set(TAKEN), statuses
    host.wait_until_head_serves()
    assert taken_since(host, before) == 2 * rounds
    dice.count(monitor.counted(f"1 round, {2 * rounds} deliveries of two senders at once"))


@pytest.mark.threat(45)
@pytest.mark.usefixtures("no_reconciler")
def test_restarted_receiver_loses_nothing(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """An accepted push is not lost. A push without an answer is sent again, and runs once."""
    rounds, sent = dice.rounds(1), 0
    for _ in range(rounds):
        sent += send_while_restarting(host, dice.chance.choice((signal.SIGKILL, signal.SIGTERM)))
    dice.count(monitor.counted(f"{rounds} rounds, {rounds} kills, of the receiver under {sent} deliveries"))


def send_while_restarting(host: FaultHost, sig: signal.Signals) -> int:
    """Send deliveries until the receiver is there again. Returns how many."""
    before, sent = known(host), 0
    host.commit()
    with restarting(host, sig) as done:
        while sent < A_ROUND or not done.is_set():
            insist(host, f"{sig.name}-{host.versions}-{sent}")
            sent += 1
    host.wait_until_head_serves()
    assert taken_since(host, before) == sent
    return sent


@contextmanager
def restarting(host: FaultHost, sig: signal.Signals) -> Iterator[threading.Event]:
    """End the receiver, and let it come back."""
    done = threading.Event()

    def restart() -> None:
        try:
            host.receiver.restart(sig)
            wait_for(host.listens, what="the receiver")
        finally:
            done.set()

    with ThreadPoolExecutor(1) as other:
        restarted = other.submit(restart)
        yield done
        restarted.result()


def push(host: FaultHost) -> None:
    """Push with one delivery."""
    host.commit()
    deliver(host)


def lost(host: FaultHost) -> None:
    """Push without a delivery."""
    host.commit()


def doubled(host: FaultHost) -> None:
    """Push with two deliveries."""
    host.commit()
    for _ in range(2):
        deliver(host, f"doubled-{host.versions}")


def old(host: FaultHost) -> None:
    """A delivery of a commit that was the head long ago."""
    first = host.site.repositories[APP].git("rev-list", "--max-parents=0", "HEAD").strip()
    deliver(host, after=first)


def kill(host: FaultHost) -> None:
    """Kill the receiver."""
    host.receiver.kill()


HAPPENINGS: tuple[Callable[[FaultHost], None], ...] = (push, lost, doubled, old, kill)


@pytest.mark.threat(6)
def test_the_head_wins(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """In any order, while deployments run and wait."""
    rounds, kills = dice.rounds(1), 0
    for _ in range(rounds):
        happenings = dice.chance.choices(HAPPENINGS, k=A_ROUND)
        kills += happenings.count(kill)
        for happening in happenings:
            happening(host)
        host.wait_until_head_serves()
    wait_for(host.listens, what="the receiver")
    dice.count(monitor.counted(f"{rounds} rounds, {kills} kills, of the receiver among lost and old deliveries"))
