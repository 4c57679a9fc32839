"""Redis goes, fills up, forgets or refuses, before, during and after a deployment: no push is lost, none runs twice."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Event

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status
from tests.faults.keeper import APP, Keeper
from tests.faults.ledger import Ledger
from tests.faults.sender import TAKEN, deliver_in_time
from tests.faults.store import Store
from tests.support.dice import Dice
from tests.support.processes import wait_for

STEPS = ("fetch", "build", "health", "stop_old")


@contextmanager
def stopped(store: Store) -> Iterator[None]:
    """Redis is stopped in order, and started again."""
    store.end()
    yield
    store.start()


@contextmanager
def killed(store: Store) -> Iterator[None]:
    """Redis is killed, and started again."""
    store.end(signal.SIGKILL)
    yield
    store.start()


@contextmanager
def restarted(store: Store) -> Iterator[None]:
    """Redis is away for no longer than it takes."""
    store.end(signal.SIGKILL)
    store.start()
    yield


@contextmanager
def forgetful(store: Store) -> Iterator[None]:
    """Redis loses its data."""
    store.forget()
    yield


@contextmanager
def flushed(store: Store) -> Iterator[None]:
    """Somebody empties Redis."""
    with store.operator() as client:
        client.flushall()
    yield


@contextmanager
def hung(store: Store) -> Iterator[None]:
    """Redis takes connections and answers nobody."""
    with store.hung():
        yield


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Redis' memory is full."""
    with store.operator() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def without_room(store: Store) -> Iterator[None]:
    """Redis' disk is full."""
    filler = fill(store)
    yield
    filler.unlink()


@contextmanager
def killed_without_room(store: Store) -> Iterator[None]:
    """Redis' disk is full, and before there is room, Redis is killed."""
    filler = fill(store)
    yield
    store.end(signal.SIGKILL)
    filler.unlink()
    store.start()


@contextmanager
def refusing(store: Store) -> Iterator[None]:
    """Nobody of hookd may write any more."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "-@write")
        yield
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Nobody of hookd gets in any more: the password is another one."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.execute_command("ACL", "SETUSER", "default", "nopass")


@contextmanager
def read_only(store: Store) -> Iterator[None]:
    """Redis has become the replica of a server that is not there."""
    with store.operator() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


def fill(store: Store) -> Path:
    """Take up all the room that is left for Redis' data."""
    filler = store.data / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
    return filler


@dataclass(frozen=True)
class Fault:
    """What happens to Redis, how pushes may be answered meanwhile, and what follows.

    What it was told before may be gone where it `forgets`; a worker that it `refuses` may end, and is started again.
    """

    happens: Callable[[Store], AbstractContextManager[None]]
    answers: tuple[int, ...] = (503,)
    forgets: bool = False
    refuses: bool = False


FAULTS = {
    "stopped": Fault(stopped),
    "killed": Fault(killed),
    "restarted": Fault(restarted, TAKEN),
    "forgetful": Fault(forgetful, TAKEN, forgets=True),
    "flushed": Fault(flushed, TAKEN, forgets=True),
    "hung": Fault(hung),
    "full": Fault(full, refuses=True),
    "refusing": Fault(refusing, refuses=True),
    "locked": Fault(locked, refuses=True),
    "read only": Fault(read_only, refuses=True),
}
# It is the first write too many that Redis notices: what it was told in that one stands in its memory alone.
ON_A_SMALL_DISK = {
    "without room": Fault(without_room, (*TAKEN, 503), refuses=True),
    "killed without room": Fault(killed_without_room, (*TAKEN, 503), forgets=True, refuses=True),
}


@pytest.fixture(scope="module")
def faults(keeper: Keeper) -> Iterator[dict[str, Fault]]:
    """All of them; where root may mount, Redis' data stand on a disk that a test can fill."""
    store = keeper.store
    store.end()
    kept = store.data.rename(store.data.with_name("kept"))
    store.data.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(store.data))
    is_small = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    subprocess.run(["cp", "-a", f"{kept}/.", str(store.data)], check=True)
    store.start()
    yield FAULTS | ON_A_SMALL_DISK if is_small else FAULTS
    if is_small:
        subprocess.run(["umount", "--lazy", str(store.data)], check=True)


@pytest.mark.threat(14, 52)
def test_a_running_deployment_outlasts_redis(
    keeper: Keeper, ledger: Ledger, dice: Dice, faults: dict[str, Fault]
) -> None:
    cases = dice.some(list(product(faults, STEPS)), 2)
    for name, step in cases:
        deployment = keeper.push()
        keeper.wait_for_step(deployment, step)
        with faults[name].happens(keeper.store):
            assert deliver_in_time(keeper) in faults[name].answers, name
            keeper.wait_until_done(deployment)
            assert keeper.serving() == f"v{keeper.versions}", "it needs Redis for its record only"
            time.sleep(dice.chance.uniform(0, 1))  # Its ending meets the fault, or what comes after.
        keeper.wait_until_head_serves()
        ended_well(keeper, faults[name], deployment)
    told = ", ".join(f"{name} at {step}" for name, step in cases)
    dice.count(ledger.counted(f"{len(cases)} rounds, Redis {told}"))


@pytest.mark.threat(14)
def test_a_deployment_that_waits_outlasts_redis(
    keeper: Keeper, ledger: Ledger, dice: Dice, faults: dict[str, Fault]
) -> None:
    """The one before it ends while Redis is in trouble."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        with ExitStack() as trouble:
            with keeper.building() as running:
                waiting = keeper.push()
                trouble.enter_context(faults[name].happens(keeper.store))
            keeper.wait_until_done(running)
        keeper.wait_until_head_serves()
        for deployment in (running, waiting):
            ended_well(keeper, faults[name], deployment)
    dice.count(ledger.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} while a deployment waits"))


def ended_well(keeper: Keeper, fault: Fault, deployment: Deployment) -> None:
    """See that a deployment has the ending that it came to, unless Redis has forgotten it."""
    record = keeper.site.records.find(deployment.id)
    if fault.forgets and (record is None or record.status is Status.UNCHANGED):
        return
    assert record is not None
    assert record.status is Status.SUCCEEDED, record


@pytest.mark.threat(14)
def test_a_push_while_redis_is_in_trouble_goes_live_once_that_is_over(
    keeper: Keeper, ledger: Ledger, dice: Dice, faults: dict[str, Fault]
) -> None:
    """Nobody says it again when it was refused, and an idle worker finds Redis again."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        starts = keeper.worker.starts
        keeper.commit()
        with faults[name].happens(keeper.store):
            assert deliver_in_time(keeper) in faults[name].answers, name
            time.sleep(dice.chance.uniform(0, 2))
        keeper.wait_until_head_serves()
        assert keeper.worker.starts == starts or faults[name].refuses
    dice.count(ledger.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} when a push comes"))


@pytest.mark.threat(14)
def test_nothing_is_deployed_again_after_redis_was_in_trouble(
    keeper: Keeper, ledger: Ledger, dice: Dice, faults: dict[str, Fault]
) -> None:
    """What Redis has forgotten comes back from disk."""
    cases = dice.some(list(faults), 1)
    keeper.push()
    keeper.wait_until_head_serves()
    builds, serving = keeper.book.read_text(), keeper.site.current(APP)
    for name in cases:
        with faults[name].happens(keeper.store):
            time.sleep(dice.chance.uniform(0, 2))
        wait_until_looked_at(keeper)
        keeper.wait_until_head_serves()
    assert (keeper.book.read_text(), keeper.site.current(APP)) == (builds, serving)
    dice.count(ledger.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} after a deployment"))


def wait_until_looked_at(keeper: Keeper) -> None:
    """Wait until the reconciler has come round to the app."""
    since = time.time()
    with Redis.from_url(keeper.store.url) as client:
        wait_for(lambda: float(client.hget(redis_keys.polled_key(APP), "at") or 0) > since, what="a look at the branch")


@pytest.mark.threat(14)
@pytest.mark.usefixtures("alone")
def test_what_was_answered_with_202_stands_when_redis_is_back(
    keeper: Keeper, ledger: Ledger, dice: Dice, faults: dict[str, Fault]
) -> None:
    """Two senders push all the time, and each answer comes in time."""
    cases = dice.some([name for name in faults if not faults[name].forgets], 1)
    sent = 0
    for name in cases:
        keeper.commit()
        with sending(keeper) as answers:
            wait_for_more(answers)
            with faults[name].happens(keeper.store):
                wait_for_more(answers)
            wait_for_more(answers)
        assert set(answers.values()) <= {*TAKEN, 503}
        keeper.wait_until_head_serves()
        for delivery in (delivery for delivery, status in answers.items() if status in TAKEN):
            assert answered_by(keeper, delivery).ended
        sent += len(answers)
    dice.count(ledger.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} under {sent} deliveries"))


@contextmanager
def sending(keeper: Keeper) -> Iterator[dict[str, int]]:
    """Let two senders push for as long as the block; yields the status of each delivery."""
    answers: dict[str, int] = {}
    end = Event()

    def send(_: int) -> None:
        while not end.is_set():
            delivery = str(uuid.uuid4())
            answers[delivery] = deliver_in_time(keeper, delivery)

    with ThreadPoolExecutor(2) as senders:
        sent = senders.map(send, range(2))
        try:
            yield answers
        finally:
            end.set()
        list(sent)


def wait_for_more(answers: dict[str, int]) -> None:
    """Wait for some more answers."""
    enough = len(answers) + 6
    wait_for(lambda: len(answers) >= enough, what="answers")


def answered_by(keeper: Keeper, delivery: str) -> Deployment:
    """The deployment that a delivery was answered with."""
    with Redis.from_url(keeper.store.url) as client:
        found = client.get(redis_keys.delivery_key(APP, delivery))
    assert found, delivery
    return keeper.site.records.get(found.decode())
