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
from tests.faults.host import APP, FaultHost
from tests.faults.monitor import Monitor
from tests.faults.redis_server import RedisServer
from tests.faults.sender import TAKEN, deliver_in_time
from tests.support.dice import Dice
from tests.support.processes import wait_for

STEPS = ("fetch", "build", "health", "stop_old")


@contextmanager
def stopped(store: RedisServer) -> Iterator[None]:
    """Redis is stopped in order, and started again."""
    store.end()
    yield
    store.start()


@contextmanager
def killed(store: RedisServer) -> Iterator[None]:
    """Redis is killed, and started again."""
    store.end(signal.SIGKILL)
    yield
    store.start()


@contextmanager
def restarted(store: RedisServer) -> Iterator[None]:
    """Redis is away for no longer than it takes."""
    store.end(signal.SIGKILL)
    store.start()
    yield


@contextmanager
def forgetful(store: RedisServer) -> Iterator[None]:
    """Redis loses its data."""
    store.forget()
    yield


@contextmanager
def flushed(store: RedisServer) -> Iterator[None]:
    """Empty Redis."""
    with store.operator() as client:
        client.flushall()
    yield


@contextmanager
def hung(store: RedisServer) -> Iterator[None]:
    """Redis accepts connections and answers none."""
    with store.hung():
        yield


@contextmanager
def full(store: RedisServer) -> Iterator[None]:
    """Redis' memory is full."""
    with store.operator() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def without_room(store: RedisServer) -> Iterator[None]:
    """Redis' disk is full."""
    filler = fill(store)
    yield
    filler.unlink()


@contextmanager
def killed_without_room(store: RedisServer) -> Iterator[None]:
    """Redis' disk is full, and before there is room, Redis is killed."""
    filler = fill(store)
    yield
    store.end(signal.SIGKILL)
    filler.unlink()
    store.start()


@contextmanager
def refusing(store: RedisServer) -> Iterator[None]:
    """Take away the write rights."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "-@write")
        yield
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def locked(store: RedisServer) -> Iterator[None]:
    """Change the password."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.execute_command("ACL", "SETUSER", "default", "nopass")


@contextmanager
def read_only(store: RedisServer) -> Iterator[None]:
    """Redis has become the replica of a server that is not there."""
    with store.operator() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


def fill(store: RedisServer) -> Path:
    """Take up all the room that is left for Redis' data."""
    filler = store.data / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
    return filler


@dataclass(frozen=True)
class Fault:
    """A fault of Redis, and the possible answers to pushes meanwhile.

    `forgets`: earlier data may be gone. `refuses`: a worker may end, and is started again.
    """

    happens: Callable[[RedisServer], AbstractContextManager[None]]
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
# Redis notices the first write that does not fit. The data of that write is in memory only.
ON_A_SMALL_DISK = {
    "without room": Fault(without_room, (*TAKEN, 503), refuses=True),
    "killed without room": Fault(killed_without_room, (*TAKEN, 503), forgets=True, refuses=True),
}


@pytest.fixture(scope="module")
def faults(host: FaultHost) -> Iterator[dict[str, Fault]]:
    """All of them. Where root may mount, Redis' data stand on a disk that a test can fill."""
    store = host.redis
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
def test_running_deployment_outlasts_redis(
    host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]
) -> None:
    cases = dice.some(list(product(faults, STEPS)), 2)
    for name, step in cases:
        deployment = host.push()
        host.wait_for_step(deployment, step)
        with faults[name].happens(host.redis):
            assert deliver_in_time(host) in faults[name].answers, name
            host.wait_until_done(deployment)
            assert host.serving() == f"v{host.versions}", "it needs Redis for its record only"
            time.sleep(dice.chance.uniform(0, 1))  # Its ending meets the fault, or what comes after.
        host.wait_until_head_serves()
        ended_well(host, faults[name], deployment)
    told = ", ".join(f"{name} at {step}" for name, step in cases)
    dice.count(monitor.counted(f"{len(cases)} rounds, Redis {told}"))


@pytest.mark.threat(14)
def test_waiting_deployment_outlasts_redis(
    host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]
) -> None:
    """The one before it ends while Redis is in trouble."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        with ExitStack() as trouble:
            with host.building() as running:
                waiting = host.push()
                trouble.enter_context(faults[name].happens(host.redis))
            host.wait_until_done(running)
        host.wait_until_head_serves()
        for deployment in (running, waiting):
            ended_well(host, faults[name], deployment)
    dice.count(monitor.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} while a deployment waits"))


def ended_well(host: FaultHost, fault: Fault, deployment: Deployment) -> None:
    """See that a deployment has the ending that it came to, unless Redis has forgotten it."""
    record = host.site.records.find(deployment.id)
    if fault.forgets and (record is None or record.status is Status.UNCHANGED):
        return
    assert record is not None
    assert record.status is Status.SUCCEEDED, record


@pytest.mark.threat(14)
def test_push_outlasts_redis_faults(host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]) -> None:
    """A refused push is not delivered again, and an idle worker connects again."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        starts = host.worker.starts
        host.commit()
        with faults[name].happens(host.redis):
            assert deliver_in_time(host) in faults[name].answers, name
            time.sleep(dice.chance.uniform(0, 2))
        host.wait_until_head_serves()
        assert host.worker.starts == starts or faults[name].refuses
    dice.count(monitor.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} when a push comes"))


@pytest.mark.threat(14)
def test_redis_fault_repeats_no_deployment(
    host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]
) -> None:
    """Lost data comes back from disk."""
    cases = dice.some(list(faults), 1)
    host.push()
    host.wait_until_head_serves()
    builds, serving = host.book.read_text(), host.site.current(APP)
    for name in cases:
        with faults[name].happens(host.redis):
            time.sleep(dice.chance.uniform(0, 2))
        wait_until_looked_at(host)
        host.wait_until_head_serves()
    assert (host.book.read_text(), host.site.current(APP)) == (builds, serving)
    dice.count(monitor.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} after a deployment"))


def wait_until_looked_at(host: FaultHost) -> None:
    """Wait until the reconciler has come round to the app."""
    since = time.time()
    with Redis.from_url(host.redis.url) as client:
        wait_for(lambda: float(client.hget(redis_keys.polled_key(APP), "at") or 0) > since, what="a look at the branch")


@pytest.mark.threat(14)
@pytest.mark.usefixtures("no_reconciler")
def test_accepted_pushes_are_not_lost(host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]) -> None:
    """Two senders push all the time, and each answer comes in time."""
    cases = dice.some([name for name in faults if not faults[name].forgets], 1)
    sent = 0
    for name in cases:
        host.commit()
        with sending(host) as answers:
            wait_for_more(answers)
            with faults[name].happens(host.redis):
                wait_for_more(answers)
            wait_for_more(answers)
        assert set(answers.values()) <= {*TAKEN, 503}
        host.wait_until_head_serves()
        for delivery in (delivery for delivery, status in answers.items() if status in TAKEN):
            assert answered_by(host, delivery).ended
        sent += len(answers)
    dice.count(monitor.counted(f"{len(cases)} rounds, Redis {', '.join(cases)} under {sent} deliveries"))


@contextmanager
def sending(host: FaultHost) -> Iterator[dict[str, int]]:
    """Let two senders push for as long as the block. Yields the status of each delivery."""
    answers: dict[str, int] = {}
    end = Event()

    def send(_: int) -> None:
        while not end.is_set():
            delivery = str(uuid.uuid4())
            answers[delivery] = deliver_in_time(host, delivery)

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


def answered_by(host: FaultHost, delivery: str) -> Deployment:
    """The deployment that a delivery was answered with."""
    with Redis.from_url(host.redis.url) as client:
        found = client.get(redis_keys.delivery_key(APP, delivery))
    assert found, delivery
    return host.site.records.get(found.decode())
