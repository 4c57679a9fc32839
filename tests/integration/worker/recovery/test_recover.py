"""Deployments of killed workers get an ending, and another deployment follows."""

import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from hookd.model.deployment import Status, Trigger, advance
from hookd.model.journal import Built, Good, Switched
from hookd.queue.deployments import DeploymentRequest
from tests.support.abandoned import (
    ENDING_SECONDS,
    assert_recovered,
    kill,
    log_of,
    maintain,
    start,
)
from tests.support.hanging import ask, cmdline, wait_until_fetching
from tests.support.installation import Installation
from tests.support.processes import wait_for
from worker.journal import Journal


@pytest.mark.threat(46)
def test_restarted_worker_ends_its_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    kill(worker)
    assert start(hookd, client, "hookd-1").poll() is None
    assert_recovered(hookd, client, abandoned)


@pytest.mark.threat(46)
def test_other_worker_ends_the_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    hookd.start_worker("hookd-2")
    wait_for(lambda: client.hget("rq:worker:hookd-2", "state") == b"idle", what="the other worker")
    kill(worker)
    assert_recovered(hookd, client, abandoned)
    assert not client.exists("rq:worker:hookd-1")


@pytest.mark.threat(46)
def test_busy_worker_ends_the_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    hookd.start_worker("hookd-2")
    other = ask(hookd, "blog")
    busy = wait_until_fetching(hookd, other)
    kill(worker)
    record = hookd.wait_for_ending(abandoned, ENDING_SECONDS)
    assert record.cause == "the worker died while it ran"
    assert hookd.records.get(other).status is Status.RUNNING
    assert hookd.deployer("blog") == busy
    assert cmdline(busy)


@pytest.mark.threat(46)
def test_crash_after_health_is_a_success(hookd: Installation, client: Redis) -> None:
    deployment_id = record_running(hookd)
    at, release = datetime.now(UTC), "000001-0123456789ab"
    stamp: dict[str, Any] = {"at": at, "deployment": deployment_id, "release": release}
    Journal(hookd.directory / "state" / "journals" / "shop.jsonl").add(
        Built(**stamp, commit="0123456789ab" + "0" * 28), Switched(**stamp), Good(**stamp)
    )
    maintain(client)
    record = hookd.records.get(deployment_id)
    assert record.status is Status.SUCCEEDED
    assert record.cause == f"the worker died while it ran, after the health check of {release}"
    assert hookd.records.history("shop", 1)[0].trigger is Trigger.RECONCILE


def record_running(hookd: Installation) -> str:
    """Make a running record without job and process, as after Redis lost its ending."""
    with Redis.from_url(hookd.redis_url) as client:
        deployment_id = ask(hookd)
        hookd.records.change(deployment_id, lambda old: advance(old, Status.RUNNING, datetime.now(UTC)))
        client.delete("rq:queue:hookd", f"rq:job:{deployment_id}", "rq:rl:app-shop:allowed")
    return deployment_id


def test_repeated_crashes_are_retried_later(hookd: Installation, client: Redis) -> None:
    worker, locks = hookd.start_worker(), hookd.directory / "state" / "locks"
    ask(hookd)
    for number in range(1, 4):
        wait_for(lambda count=number: len(hookd.records.history("shop", 9)) == count, what="the next")  # type: ignore[misc]
        newest, *_ = hookd.records.history("shop", 9)
        process = wait_until_fetching(hookd, newest.id)
        assert f"{newest.id}.run" in os.listdir(locks)
        os.kill(process, signal.SIGKILL)
        hookd.wait_for_ending(newest.id, 10)
    wait_for(lambda: "no immediate retry" in log_of(hookd), what="the log")
    wait_for(lambda: not list(locks.glob("*.run")), ENDING_SECONDS, what="the end of the files of liveness")
    assert [one.trigger for one in hookd.records.history("shop", 9)] == ["reconcile", "reconcile", "push"]
    assert worker.poll() is None


def test_waiting_manual_deployment_comes_next(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    wish = DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=300, pinned_commit="a" * 40)
    waiting = hookd.records.request(wish).deployment
    kill(worker)
    hookd.start_worker("hookd-2")
    hookd.wait_for_ending(abandoned, ENDING_SECONDS)
    hookd.wait_for_step(waiting, "fetch")
    assert [one.id for one in hookd.records.history("shop", 9)] == [waiting, abandoned]


@pytest.mark.threat(34)
def test_forced_stop_is_recovered_at_once(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    worker.terminate()
    wait_for(lambda: client.hexists("rq:worker:hookd-1", "shutdown_requested_date"), what="the worker to know")
    time.sleep(1.2)  # RQ takes a second signal within a second of that for the same.
    worker.terminate()
    worker.wait(10)
    hookd.start_worker("hookd-2")
    assert_recovered(hookd, client, abandoned)
