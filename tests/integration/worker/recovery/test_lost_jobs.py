"""Waiting deployments whose job is lost get a new job."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Trigger, encode
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.rq_classes import SafeJob
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import put_job, status_of


@pytest.fixture
def hookd(tmp_path: Path) -> Iterator[Installation]:
    """A Redis and the catalogue, with apps whose deployments fail at once: their repositories are empty."""
    with Installation(tmp_path) as installation:
        for name in ("blog", "shop"):
            installation.add_app(name)
        installation.start_redis()
        yield installation


@pytest.fixture
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found


def ask(hookd: Installation, app: str = "shop", **more: Any) -> str:
    return hookd.records.request(DeploymentRequest(app=app, trigger=Trigger.PUSH, seconds=300, **more)).deployment


def start(hookd: Installation, client: Redis) -> Any:
    """Start a worker that has found nothing to do."""
    worker = hookd.start_worker()
    wait_for(lambda: client.hget("rq:worker:worker", "state") == b"idle", what="the worker")
    return worker


def forget_rqs_keys(client: Redis, _: str) -> None:
    for key in client.scan_iter("rq:*"):
        if not key.startswith(b"rq:worker"):
            client.delete(key)


# Ways to lose the job of a deployment that waits.
LOSSES: dict[str, Callable[[Redis, str], object]] = {
    "rq empty": lambda client, one: client.delete("rq:queue:hookd", SafeJob.key_for(one)),
    "the queue alone": lambda client, _: client.delete("rq:queue:hookd"),
    "the job's hash alone": lambda client, one: client.delete(SafeJob.key_for(one)),
    "everything of RQ's": forget_rqs_keys,
    "the limit's list": lambda client, one: (
        client.delete("rq:queue:hookd", "rq:rl:app-shop:allowed"),
        client.hset(SafeJob.key_for(one), "status", "rate_limited"),
    ),
    "a status that says it has started": lambda client, one: (
        client.delete("rq:queue:hookd"),
        client.hset(SafeJob.key_for(one), "status", "started"),
    ),
    "the same while it stands in line": lambda client, one: client.hset(SafeJob.key_for(one), "status", "started"),
    "a worker that died with it in its hands": lambda client, _: client.lmove(
        "rq:queue:hookd", "rq:queue:hookd:intermediate", "LEFT", "RIGHT"
    ),
}


@pytest.mark.threat(49)
@pytest.mark.parametrize("loss", LOSSES)
def test_waiting_deployment_gets_its_job_back(hookd: Installation, client: Redis, loss: str) -> None:
    waiting = ask(hookd)
    LOSSES[loss](client, waiting)
    worker = hookd.start_worker()
    record = hookd.wait_for_ending(waiting, 25)
    assert record.started_at is not None, record.cause
    # The worker takes one job after the other: a second job of the first deployment has run before this one.
    hookd.wait_for_ending(ask(hookd, "blog"), 25)
    assert [one.id for one in hookd.records.history("shop", 9)] == [waiting]
    wait_for(lambda: status_of(client, waiting) == "failed", what="RQ's own ending")
    assert worker.poll() is None


@pytest.mark.threat(49)
def test_running_worker_restores_a_lost_job(hookd: Installation, client: Redis) -> None:
    worker = start(hookd, client)
    os.kill(worker.pid, signal.SIGSTOP)
    client.client_kill_filter(_type="normal", skipme=True)  # Redis would hand it the job, although it sleeps.
    waiting = ask(hookd)
    LOSSES["rq empty"](client, waiting)
    os.kill(worker.pid, signal.SIGCONT)
    assert hookd.wait_for_ending(waiting, 25).started_at is not None
    assert worker.poll() is None


def test_cancelled_job_cancels_its_deployment(hookd: Installation, client: Redis) -> None:
    waiting = ask(hookd)
    SafeJob.fetch(waiting, connection=client).cancel()
    hookd.start_worker()
    record = hookd.wait_for_ending(waiting, 25)
    assert (record.status, record.cause) == (Status.CANCELLED, "a person cancelled its job")


def test_newer_deployment_supersedes_a_lost_one(hookd: Installation, client: Redis) -> None:
    forgotten = ask(hookd)
    client.delete(
        redis_keys.waiting_key("shop"), "rq:queue:hookd", SafeJob.key_for(forgotten), "rq:rl:app-shop:allowed"
    )
    newer = ask(hookd)
    hookd.start_worker()
    assert hookd.wait_for_ending(newer, 25).started_at is not None
    record = hookd.wait_for_ending(forgotten, 25)
    assert (record.status, record.superseded_by) == (Status.SUPERSEDED, newer)


@pytest.mark.threat(49)
def test_newest_lost_deployment_is_restored(hookd: Installation, client: Redis) -> None:
    forgotten = ask(hookd)
    client.delete(
        redis_keys.waiting_key("shop"), "rq:queue:hookd", SafeJob.key_for(forgotten), "rq:rl:app-shop:allowed"
    )
    hookd.start_worker()
    assert hookd.wait_for_ending(forgotten, 25).started_at is not None


# Keys that cannot be cleaned up, while a lost deployment holds an app's only slot.
OBSTACLES: dict[str, Callable[[Redis], object]] = {
    "a started job that is no UTF-8": lambda client: client.zadd("rq:wip:hookd", {b"\xff": 1}),
    "a limit that is no number": lambda client: (
        client.sadd("rq:rl-keys", "app-aaa"),
        client.hset("rq:rl:app-aaa", "concurrency", "many"),
    ),
    "a limit whose name is no UTF-8": lambda client: client.sadd("rq:rl-keys", b"\xff"),
    "a worker whose name is no UTF-8": lambda client: client.sadd("rq:workers:hookd", b"\xff"),
    "a worker without a number": lambda client: (
        client.sadd("rq:workers", "rq:worker:x"),
        client.hset("rq:worker:x", mapping={"hostname": "x", "pid": "many"}),
    ),
    "a lock that a dead worker left": lambda client: client.set("rq:clean_registries:hookd", 1, ex=10),
    "a record of the future": lambda client: client.hset(
        redis_keys.record_key(f"shop-{datetime.now(UTC):%Y%m%dT%H%M%S}000-0a1b2c"), "record", "{}"
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_failed_cleanup_stops_no_other(hookd: Installation, client: Redis, obstacle: str) -> None:
    waiting = ask(hookd)
    client.zadd("rq:rl:app-shop:rate_limited", {waiting: 1})
    client.hset(SafeJob.key_for(waiting), "status", "rate_limited")
    client.delete("rq:queue:hookd", "rq:rl:app-shop:allowed")
    client.zadd("rq:rl:app-shop:allowed", {"shop-20200101T000000000-0a1b2c": 1})
    OBSTACLES[obstacle](client)
    worker = hookd.start_worker()
    assert hookd.wait_for_ending(waiting, 25).started_at is not None
    assert worker.poll() is None


def forget_job(client: Redis, deployment_id: str) -> None:
    """Take a deployment's job away, and leave its app's limit as it was before."""
    job = SafeJob.key_for(deployment_id)
    app = deployment_id.partition("-")[0]
    client.delete("rq:queue:hookd", job, f"rq:rl:app-{app}:allowed")


GHOST = "ghost-20260304T050607000-0a1b2c"
# Forged keys of one app that would end a recovery round for all apps.
POISON: dict[str, Callable[[Redis], object]] = {
    "another app's id, beside a limit of another kind": lambda client: (
        client.set(redis_keys.waiting_key("blog"), GHOST),
        client.hset("rq:rl:app-ghost:rate_limited", "x", "y"),
    ),
    "a history of another kind": lambda client: client.set(redis_keys.history_key("blog"), "x"),
    "a waiting key of another kind": lambda client: client.hset(redis_keys.waiting_key("blog"), "x", "y"),
}


@pytest.mark.threat(12)
@pytest.mark.parametrize("poison", POISON)
def test_bad_keys_harm_no_other_app(hookd: Installation, client: Redis, poison: str) -> None:
    worker = start(hookd, client)
    os.kill(worker.pid, signal.SIGSTOP)
    client.client_kill_filter(_type="normal", skipme=True)
    waiting = ask(hookd)
    forget_job(client, waiting)
    POISON[poison](client)
    os.kill(worker.pid, signal.SIGCONT)
    assert hookd.wait_for_ending(waiting, 25).started_at is not None
    assert worker.poll() is None


def test_foreign_waiting_id_is_ignored(hookd: Installation, client: Redis) -> None:
    ghost = Deployment(id=GHOST, app="ghost", trigger=Trigger.PUSH, created_at=datetime.now(UTC))
    client.hset(redis_keys.record_key(GHOST), "record", encode(ghost))
    client.set(redis_keys.waiting_key("blog"), GHOST)
    waiting = ask(hookd)
    SafeJob.fetch(waiting, connection=client).cancel()
    client.hset(SafeJob.key_for(GHOST), "status", "canceled")
    hookd.start_worker()
    assert hookd.wait_for_ending(waiting, 25).status is Status.CANCELLED
    assert hookd.records.get(GHOST).status is Status.QUEUED


def test_just_taken_job_is_left_alone(hookd: Installation, client: Redis) -> None:
    start(hookd, client)
    job_id = put_job(client, {"data": b"x"})
    wait_for(lambda: status_of(client, job_id) == "failed", what="its ending")
    for _ in range(20):
        deployment = hookd.wait_for_ending(ask(hookd), 25)
        assert deployment.started_at is not None
    assert "requeued" not in (hookd.directory / "worker.log").read_text()
