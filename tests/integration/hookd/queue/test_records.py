"""Records, history and status in a real Redis: changed, read back, malformed and deleted."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import (
    MAX_RECORD_BYTES,
    Deployment,
    IllegalTransition,
    Status,
    Step,
    Trigger,
    advance,
    with_step,
)
from hookd.model.hint import Hint, HintKind
from hookd.queue.deployments import DeploymentRequest, DeploymentStore, NoSuchDeployment
from hookd.queue.published import AppStatus, publish_status, read_status
from tests.support.deployments import AT, ask, end, start

A, B = "a" * 40, "b" * 40


def test_cause_with_invalid_utf8(records: DeploymentStore) -> None:
    answer = ask(records)
    records.change(answer.deployment, lambda old: advance(old, Status.FAILED, AT, cause="no such file: caf\udce9"))
    assert records.get(answer.deployment).cause == "no such file: caf?"


def test_illegal_transition_changes_nothing(records: DeploymentStore) -> None:
    answer = ask(records)
    end(records, answer.deployment, Status.FAILED)
    with pytest.raises(IllegalTransition):
        start(records, answer.deployment)
    assert records.get(answer.deployment).status is Status.FAILED


def test_change_keeps_the_coalesced_count(records: DeploymentStore) -> None:
    answer = ask(records)
    ask(records)
    start(records, answer.deployment)
    assert records.get(answer.deployment).coalesced == 1


def test_only_ended_records_expire(records: DeploymentStore, client: Redis) -> None:
    key = redis_keys.record_key(ask(records).deployment)
    assert client.ttl(key) == -1
    start(records, key.rpartition(":")[2])
    assert client.ttl(key) == -1
    end(records, key.rpartition(":")[2], Status.SUCCEEDED)
    assert 0 < int(client.ttl(key)) <= 3600


@pytest.mark.threat(57)
@pytest.mark.parametrize(
    "content",
    [{}, {"record": "{}"}, {"record": b"\xff"}, {"record": "[" * 9999}, {"beside": "1"}],
)
def test_invalid_record_is_missing(records: DeploymentStore, client: Redis, content: Any) -> None:
    deployment_id = "shop-20260304T050607000-0a1b2c"
    if content:
        client.hset(redis_keys.record_key(deployment_id), mapping=content)
    with pytest.raises(NoSuchDeployment):
        records.get(deployment_id)
    assert records.find(deployment_id) is None
    with pytest.raises(NoSuchDeployment):
        start(records, deployment_id)


def put_steps(client: Redis, deployment_id: str, size: int) -> None:
    """Write a valid record of this size, full of steps."""
    step = Step(name="a", started_at=AT)
    record = Deployment(id=deployment_id, app="shop", trigger=Trigger.PUSH, created_at=AT)
    many = record.model_copy(update={"steps": (step,) * (size // len(step.model_dump_json()))})
    client.hset(redis_keys.record_key(deployment_id), "record", many.model_dump_json())
    client.zadd(redis_keys.history_key("shop"), {deployment_id: AT.timestamp()})


@pytest.mark.threat(81)
def test_huge_record_costs_no_memory(records: DeploymentStore, client: Redis) -> None:
    small, large = (f"shop-20260304T05060700{number}-0a1b2c" for number in range(2))
    put_steps(client, small, MAX_RECORD_BYTES // 2)
    put_steps(client, large, 8 * 1024**2)
    client.hset(redis_keys.record_key(small), "beside", b"x" * 8 * 1024**2)
    tracemalloc.start()
    try:
        assert [one.id for one in records.history("shop", 9)] == [small]
        assert records.find(large) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * 8 * 1024**2, "parsed, it takes twenty times its size"
    finally:
        tracemalloc.stop()


@pytest.mark.threat(81)
def test_other_hash_fields_are_not_read(records: DeploymentStore, client: Redis) -> None:
    waits = ask(records).deployment
    client.hset(redis_keys.record_key(waits), "beside", b"x" * 32 * 1024**2)
    tracemalloc.start()
    try:
        assert (records.get(waits).status, len(records.history("shop", 9))) == (Status.QUEUED, 1)
        assert tracemalloc.get_traced_memory()[1] < 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.threat(81)
def test_long_cause_is_cut(records: DeploymentStore) -> None:
    started = start(records, ask(records).deployment)
    long = advance(started, Status.FAILED, AT, cause="é" * MAX_RECORD_BYTES, hint=Hint(HintKind.DEPLOY))
    long = with_step(long, Step(name="a", started_at=AT))
    records.change(started.id, lambda _: long)
    record = records.get(started.id)
    assert (record.status, (record.cause or "")[:9], record.hint) == (Status.FAILED, "é" * 9, Hint(HintKind.DEPLOY))


def old_deployments(records: DeploymentStore, count: int) -> list[str]:
    """Make ended deployments of one app, a day apart, and return them with the newest first."""
    made = []
    for day in range(count):
        request = DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=300)
        answer = records.request(request, now=AT - timedelta(days=count - day))
        end(records, answer.deployment, Status.SUCCEEDED)
        made.append(answer.deployment)
    return made[::-1]


def test_the_history_shows_the_newest_first(records: DeploymentStore) -> None:
    made = old_deployments(records, 4)
    assert [record.id for record in records.history("shop", 3)] == made[:3]
    assert records.history("blog", 3) == []


def test_old_records_are_deleted(records: DeploymentStore, client: Redis) -> None:
    made = old_deployments(records, 5)
    assert records.delete_old("shop", keep=4, before=AT - timedelta(days=3.5)) == made[3:]
    assert [record.id for record in records.history("shop", 9)] == made[:3]
    assert client.exists(*map(redis_keys.record_key, made)) == 3


def test_unfinished_deployment_is_kept(records: DeploymentStore) -> None:
    waits = ask(records).deployment
    assert records.delete_old("shop", keep=0, before=datetime.now(UTC)) == []
    start(records, waits)
    assert records.delete_old("shop", keep=0, before=datetime.now(UTC)) == []
    assert records.get(waits).status is Status.RUNNING


def test_missing_record_leaves_the_history(records: DeploymentStore, client: Redis) -> None:
    [made] = old_deployments(records, 1)
    client.delete(redis_keys.record_key(made))
    assert records.history("shop", 9) == []
    assert records.delete_old("shop", keep=9, before=AT) == [made]
    assert client.zcard(redis_keys.history_key("shop")) == 0


def test_published_status_is_read_back(records: DeploymentStore) -> None:
    view = AppStatus(
        app="shop", deployed_commit=A, release="000001-aaaaaaaaaaaa", head=B, head_seen_at=AT, healthy=True
    )
    assert read_status(records.connection, "shop") == AppStatus(app="shop")
    publish_status(records.connection, view)
    assert read_status(records.connection, "shop") == view
    assert read_status(records.connection, "blog") == AppStatus(app="blog")


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b'{"app": "../x"}', b"[" * 9999])
def test_invalid_status_is_empty(records: DeploymentStore, client: Redis, content: bytes) -> None:
    client.set(redis_keys.app_status_key("shop"), content)
    assert read_status(records.connection, "shop") == AppStatus(app="shop")


@pytest.mark.threat(57)
def test_record_of_another_id_is_missing(records: DeploymentStore) -> None:
    mine = records.request(DeploymentRequest(app="shop", trigger=Trigger.PUSH, seconds=60)).deployment
    other = records.request(DeploymentRequest(app="blog", trigger=Trigger.PUSH, seconds=60)).deployment
    stolen = records.connection.hget(redis_keys.record_key(other), "record")
    assert stolen is not None
    records.connection.hset(redis_keys.record_key(mine), "record", stolen)
    assert records.find(mine) is None
