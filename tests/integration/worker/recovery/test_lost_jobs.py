"""Waiting deployments whose job is lost get a new job."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from subprocess import Popen
from typing import Any

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Trigger, encode
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.rq_classes import SafeJob
from tests.support.abandoned import maintain
from tests.support.installation import Installation
from tests.support.processes import stop, wait_for
from tests.support.raw_jobs import put_job, status_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A Redis and the catalogue, with apps whose deployments fail at once: their repositories are empty."""
    with Installation(tmp_path_factory.mktemp("site")) as installation:
        for name in ("blog", "shop"):
            installation.add_app(name)
        installation.start_redis()
        yield installation


@pytest.fixture
def hookd(site: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The same with an empty Redis."""
    monkeypatch.setenv("HOOKD_CONFIG", str(site.config_path))
    site.records.connection.flushall()
    return site


@pytest.fixture
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found


@pytest.fixture
def worker(hookd: Installation, client: Redis) -> Iterator["Popen[bytes]"]:
    """A worker that has found nothing to do."""
    started: Popen[bytes] = hookd.start_worker()
    wait_for(lambda: client.hget("rq:worker:worker", "state") == b"idle", what="the worker")
    yield started
    assert started.poll() is None
    stop(started)


def ask(hookd: Installation, app: str = "shop", **more: Any) -> str:
    return hookd.records.request(DeploymentRequest(app=app, trigger=Trigger.PUSH, seconds=300, **more)).deployment


def queued(client: Redis) -> list[str]:
    """Return the jobs in the queue whose status says so."""
    ids: Any = client.lrange("rq:queue:hookd", 0, -1)
    return [one.decode() for one in ids if status_of(client, one.decode()) == "queued"]


def queued_after_maintenance(client: Redis) -> list[str]:
    maintain(client)
    return queued(client)


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
}


@pytest.mark.threat(49)
@pytest.mark.parametrize("loss", LOSSES)
def test_waiting_deployment_gets_its_job_back(hookd: Installation, client: Redis, loss: str) -> None:
    """It has one job, which runs at once."""
    waiting = ask(hookd)
    LOSSES[loss](client, waiting)
    assert [queued_after_maintenance(client) for _ in range(2)] == [[waiting], [waiting]]
    assert client.zrange("rq:rl:app-shop:allowed", 0, -1) == [waiting.encode()]
    assert hookd.records.get(waiting).status is Status.QUEUED


@pytest.mark.threat(49)
def test_running_worker_restores_a_lost_job(hookd: Installation, client: Redis, worker: "Popen[bytes]") -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    client.client_kill_filter(_type="normal", skipme=True)  # Redis would hand it the job, although it sleeps.
    waiting = ask(hookd)
    LOSSES["everything of RQ's"](client, waiting)
    os.kill(worker.pid, signal.SIGCONT)
    assert hookd.wait_for_ending(waiting, 25).started_at is not None
    wait_for(lambda: status_of(client, waiting) == "failed", what="RQ's own ending")
    assert [one.id for one in hookd.records.history("shop", 9)] == [waiting]


def test_cancelled_job_cancels_its_deployment(hookd: Installation, client: Redis) -> None:
    waiting = ask(hookd)
    SafeJob.fetch(waiting, connection=client).cancel()
    maintain(client)
    record = hookd.records.get(waiting)
    assert (record.status, record.cause) == (Status.CANCELLED, "a person cancelled its job")


@pytest.mark.threat(49)
def test_newest_lost_deployment_is_restored(hookd: Installation, client: Redis) -> None:
    """A newer one that waits takes its place."""
    forgotten = ask(hookd)
    client.delete(redis_keys.waiting_key("shop"))
    forget_job(client, forgotten)
    assert queued_after_maintenance(client) == [forgotten]
    client.delete(redis_keys.waiting_key("shop"))
    forget_job(client, forgotten)
    newer = ask(hookd)
    assert queued_after_maintenance(client) == [newer]
    record = hookd.records.get(forgotten)
    assert (record.status, record.superseded_by) == (Status.SUPERSEDED, newer)


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
    "a lock that a dead worker left": lambda client: client.set("rq:clean_registries:hookd", 1, ex=1),
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
    wait_for(lambda: queued_after_maintenance(client) == [waiting], what="the job in the queue")


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
    waiting = ask(hookd)
    forget_job(client, waiting)
    POISON[poison](client)
    assert queued_after_maintenance(client) == [waiting]


def test_foreign_waiting_id_is_ignored(hookd: Installation, client: Redis) -> None:
    ghost = Deployment(id=GHOST, app="ghost", trigger=Trigger.PUSH, created_at=datetime.now(UTC))
    client.hset(redis_keys.record_key(GHOST), "record", encode(ghost))
    client.set(redis_keys.waiting_key("blog"), GHOST)
    waiting = ask(hookd)
    SafeJob.fetch(waiting, connection=client).cancel()
    client.hset(SafeJob.key_for(GHOST), "status", "canceled")
    maintain(client)
    assert hookd.records.get(waiting).status is Status.CANCELLED
    assert hookd.records.get(GHOST).status is Status.QUEUED


def test_just_taken_job_is_left_alone(hookd: Installation, client: Redis, worker: "Popen[bytes]") -> None:
    job_id = put_job(client, {"data": b"x"})
    wait_for(lambda: status_of(client, job_id) == "failed", what="its ending")
    for _ in range(8):
        deployment = hookd.wait_for_ending(ask(hookd), 25)
        assert deployment.started_at is not None
    assert "requeued" not in (hookd.directory / "worker.log").read_text()
