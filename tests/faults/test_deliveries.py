"""Lost, repeated, late, old and simultaneous deliveries: no push is lost, none runs twice, the head is deployed."""

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
from tests.faults.sender import ACCEPTED, deliver, deliver_until_accepted
from tests.support.dice import Dice
from tests.support.processes import wait_for

# Deliveries of a round, fewer than the kept records.
DELIVERIES = 20


def accepted_since(host: FaultHost, before: set[str]) -> int:
    """Count the deliveries in new records, with the coalesced ones."""
    new = [record for record in host.history() if record.id not in before]
    return sum(record.coalesced + 1 for record in new if record.trigger in (Trigger.PUSH, Trigger.REDELIVERY))


def deployment_ids(host: FaultHost) -> set[str]:
    """Return the ids of all deployments."""
    return {record.id for record in host.history()}


@pytest.mark.threat(5)
def test_lost_deliveries_go_live(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    lost = dice.rounds(1)
    for _ in range(lost):
        host.commit()
        host.wait_until_head_serves()
        assert host.history()[0].trigger is Trigger.RECONCILE
    dice.count(monitor.summary(f"{lost} rounds, each a lost delivery"))


@pytest.mark.threat(4)
@pytest.mark.usefixtures("no_reconciler")
def test_repeated_delivery_runs_once(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Repeat a delivery before, during and after its deployment, from two senders at once."""
    before = deployment_ids(host)
    host.commit()
    with ThreadPoolExecutor(2) as senders:
        answers = list(senders.map(lambda _: deliver(host, "again"), range(100)))
    assert {status for status, _ in answers} <= set(ACCEPTED)
    assert len({answer["deployment"] for _, answer in answers}) == 1
    host.wait_until_head_serves()
    assert deliver(host, "again")[1]["status"] == "duplicate"
    assert len(deployment_ids(host) - before) == 1
    dice.count(monitor.summary("1 round, one delivery sent 101 times"))


@pytest.mark.threat(6)
@pytest.mark.usefixtures("no_reconciler")
def test_unordered_deliveries_deploy_the_head(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    before = deployment_ids(host)
    commits = []
    for _ in range(6):
        host.commit()
        commits.append(host.site.repositories[APP].head())
    dice.chance.shuffle(commits)
    for number, commit in enumerate(commits):
        deliver_until_accepted(host, f"mixed-{host.versions}-{number}", commit)
    host.wait_until_head_serves()
    assert accepted_since(host, before) == len(commits)
    serving = host.site.current(APP)
    deliver_until_accepted(host, f"late-{host.versions}", commits[0])
    host.wait_until_head_serves()
    assert host.history()[0].status is Status.UNCHANGED
    assert host.site.current(APP) == serving, "an old delivery deployed an old commit"
    dice.count(monitor.summary("1 round, deliveries out of order and of old commits"))


@pytest.mark.threat(6)
@pytest.mark.usefixtures("no_reconciler")
def test_two_senders_at_once_lose_nothing(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    before, rounds = deployment_ids(host), dice.rounds(DELIVERIES)
    host.commit()

    def send(sender: str) -> Counter[int]:
        return Counter(deliver(host, f"{sender}-{host.versions}-{number}")[0] for number in range(rounds))

    with ThreadPoolExecutor(2) as senders:
        statuses = sum(senders.map(send, ("ann", "bob")), Counter[int]())
    assert set(statuses) <= set(ACCEPTED), statuses
    host.wait_until_head_serves()
    assert accepted_since(host, before) == 2 * rounds
    dice.count(monitor.summary(f"1 round, {2 * rounds} deliveries of two senders at once"))


@pytest.mark.threat(45)
@pytest.mark.usefixtures("no_reconciler")
def test_restarted_receiver_loses_nothing(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Lose no accepted push, and run a push once that was repeated without an answer."""
    rounds, sent = dice.rounds(1), 0
    for _ in range(rounds):
        sent += send_while_restarting(host, dice.chance.choice((signal.SIGKILL, signal.SIGTERM)))
    dice.count(monitor.summary(f"{rounds} rounds, {rounds} kills, of the receiver under {sent} deliveries"))


def send_while_restarting(host: FaultHost, sig: signal.Signals) -> int:
    """Send deliveries until the receiver runs again, and return their number."""
    before, sent = deployment_ids(host), 0
    host.commit()
    with restarting(host, sig) as done:
        while sent < DELIVERIES or not done.is_set():
            deliver_until_accepted(host, f"{sig.name}-{host.versions}-{sent}")
            sent += 1
    host.wait_until_head_serves()
    assert accepted_since(host, before) == sent
    return sent


@contextmanager
def restarting(host: FaultHost, sig: signal.Signals) -> Iterator[threading.Event]:
    """Restart the receiver."""
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
    """Deliver the first commit again."""
    first = host.site.repositories[APP].git("rev-list", "--max-parents=0", "HEAD").strip()
    deliver(host, after=first)


def kill(host: FaultHost) -> None:
    """Kill the receiver."""
    host.receiver.kill()


EVENTS: tuple[Callable[[FaultHost], None], ...] = (push, lost, doubled, old, kill)


@pytest.mark.threat(6)
def test_mixed_events_deploy_the_head(host: FaultHost, monitor: Monitor, dice: Dice) -> None:
    """Mix pushes, lost and old deliveries and kills while deployments run and wait."""
    rounds, kills = dice.rounds(1), 0
    for _ in range(rounds):
        events = dice.chance.choices(EVENTS, k=DELIVERIES)
        kills += events.count(kill)
        for action in events:
            action(host)
        host.wait_until_head_serves()
    wait_for(host.listens, what="the receiver")
    dice.count(monitor.summary(f"{rounds} rounds, {kills} kills, of the receiver among lost and old deliveries"))
