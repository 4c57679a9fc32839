"""Faults of Redis before, during and after a deployment: no push is lost, and none runs twice."""

import os
import subprocess
import time
from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product
from threading import Event
from typing import Any

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status
from tests.faults.host import APP, FaultHost
from tests.faults.monitor import Monitor
from tests.faults.redis_faults import FAULTS, ON_A_SMALL_DISK, Fault
from tests.faults.sender import ACCEPTED, deliver_in_time
from tests.support.dice import Dice
from tests.support.processes import wait_for

STEPS = ("fetch", "build", "health", "stop_old")


@pytest.fixture(scope="module")
def faults(host: FaultHost) -> Iterator[dict[str, Fault]]:
    """All faults. If root may mount, Redis' data are on a disk that a test can fill."""
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
        with faults[name].apply(host.redis):
            assert deliver_in_time(host)[0] in faults[name].answers, name
            host.wait_until_done(deployment)
            assert host.serving() == f"v{host.versions}", "a deployment needs Redis for its record only"
            time.sleep(dice.chance.uniform(0, 1))  # The ending comes during or after the fault.
        host.wait_until_head_serves()
        check_success(host, faults[name], deployment)
    names = ", ".join(f"{name} at {step}" for name, step in cases)
    dice.count(monitor.summary(f"{len(cases)} rounds, Redis {names}"))


@pytest.mark.threat(14)
def test_waiting_deployment_outlasts_redis(
    host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]
) -> None:
    """End the deployment before it during the fault."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        with ExitStack() as fault:
            with host.building() as running:
                waiting = host.push()
                fault.enter_context(faults[name].apply(host.redis))
            host.wait_until_done(running)
        host.wait_until_head_serves()
        for deployment in (running, waiting):
            check_success(host, faults[name], deployment)
    dice.count(monitor.summary(f"{len(cases)} rounds, Redis {', '.join(cases)} while a deployment waits"))


def check_success(host: FaultHost, fault: Fault, deployment: Deployment) -> None:
    """Check that a deployment succeeded, unless Redis has lost its record."""
    record = host.site.records.find(deployment.id)
    if fault.forgets and (record is None or record.status is Status.UNCHANGED):
        return
    assert record is not None
    assert record.status is Status.SUCCEEDED, record


@pytest.mark.threat(14)
def test_push_outlasts_redis_faults(host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]) -> None:
    """Deploy a refused push without another delivery, and reconnect an idle worker."""
    cases = dice.some(list(faults), 1)
    for name in cases:
        starts = host.worker.starts
        host.commit()
        with faults[name].apply(host.redis):
            assert deliver_in_time(host)[0] in faults[name].answers, name
            time.sleep(dice.chance.uniform(0, 2))
        host.wait_until_head_serves()
        assert host.worker.starts == starts or faults[name].refuses
    dice.count(monitor.summary(f"{len(cases)} rounds, Redis {', '.join(cases)} when a push comes"))


@pytest.mark.threat(14)
def test_redis_fault_repeats_no_deployment(
    host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]
) -> None:
    """Restore lost data from disk without a second deployment."""
    cases = dice.some(list(faults), 1)
    host.push()
    host.wait_until_head_serves()
    builds, serving = host.book.read_text(), host.site.current(APP)
    for name in cases:
        with faults[name].apply(host.redis):
            time.sleep(dice.chance.uniform(0, 2))
        wait_until_polled(host)
        host.wait_until_head_serves()
    assert (host.book.read_text(), host.site.current(APP)) == (builds, serving)
    dice.count(monitor.summary(f"{len(cases)} rounds, Redis {', '.join(cases)} after a deployment"))


def wait_until_polled(host: FaultHost) -> None:
    """Wait until the reconciler has polled the app."""
    since = time.time()
    with Redis.from_url(host.redis.url) as client:
        wait_for(lambda: float(client.hget(redis_keys.polled_key(APP), "at") or 0) > since, what="a poll of the branch")


@pytest.mark.threat(14)
@pytest.mark.usefixtures("no_reconciler")
def test_accepted_pushes_are_not_lost(host: FaultHost, monitor: Monitor, dice: Dice, faults: dict[str, Fault]) -> None:
    """Push from two senders all the time, and check the time of each answer."""
    cases = dice.some([name for name in faults if not faults[name].forgets], 1)
    sent = 0
    for name in cases:
        host.commit()
        with sending(host) as answers:
            wait_for_more(answers)
            with faults[name].apply(host.redis):
                wait_for_more(answers)
            wait_for_more(answers)
        assert {status for status, _ in answers} <= {*ACCEPTED, 503}
        host.wait_until_head_serves()
        for answer in (answer for status, answer in answers if status in ACCEPTED):
            assert host.site.records.get(answer["deployment"]).ended
        sent += len(answers)
    dice.count(monitor.summary(f"{len(cases)} rounds, Redis {', '.join(cases)} under {sent} deliveries"))


@contextmanager
def sending(host: FaultHost) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Push from two senders during the block, and yield the answers."""
    answers: list[tuple[int, dict[str, Any]]] = []
    end = Event()

    def send(_: int) -> None:
        while not end.is_set():
            answers.append(deliver_in_time(host))

    with ThreadPoolExecutor(2) as senders:
        sent = senders.map(send, range(2))
        try:
            yield answers
        finally:
            end.set()
        list(sent)


def wait_for_more(answers: Sized) -> None:
    """Wait for some more answers."""
    enough = len(answers) + 6
    wait_for(lambda: len(answers) >= enough, what="answers")
