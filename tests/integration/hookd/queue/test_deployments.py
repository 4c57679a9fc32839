"""Deployments in a real Redis: created, joined, superseded, found again after a redelivery, changed, forgotten."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.app_status import AppStatus
from hookd.model.deployment import (
    RETRYABLE_ENDINGS,
    Deployment,
    IllegalTransition,
    Status,
    Step,
    Trigger,
    advance,
    with_step,
)
from hookd.model.hint import Hint, HintKind
from hookd.queue.app_status import AppStatusStore
from hookd.queue.codec import MAX_RECORD_BYTES, NoSuchDeployment
from hookd.queue.deployments import DeploymentRequest, DeploymentStore, RequestResult
from hookd.queue.rq_classes import SafeJob

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
A, B = "a" * 40, "b" * 40


def ask(records: DeploymentStore, trigger: Trigger = Trigger.PUSH, app: str = "shop", **more: str) -> RequestResult:
    return records.request(DeploymentRequest(app=app, trigger=trigger, seconds=300, **more))


def start(records: DeploymentStore, deployment_id: str) -> Deployment:
    return records.change(deployment_id, lambda old: advance(old, Status.RUNNING, AT))


def end(records: DeploymentStore, deployment_id: str, status: Status) -> Deployment:
    if records.get(deployment_id).status is Status.QUEUED and status is not Status.SUPERSEDED:
        start(records, deployment_id)
    return records.change(deployment_id, lambda old: advance(old, status, AT))


def waiting(client: Redis, app: str = "shop") -> str | None:
    raw = client.get(redis_keys.waiting_key(app))
    return raw.decode() if isinstance(raw, bytes) else None


@pytest.mark.threat(45)
def test_record_and_job_share_an_id(records: DeploymentStore, client: Redis) -> None:
    answer = ask(records, delivery="d-1", claimed_commit=A)
    record = records.get(answer.deployment)
    assert answer.kind == "created"
    assert (record.status, record.delivery, record.claimed_commit) == (Status.QUEUED, "d-1", A)
    job = SafeJob.fetch(answer.deployment, connection=client)
    assert (job.func_name, job.args) == (redis_keys.DEPLOY, [answer.deployment])
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (300, 3600, 3600)
    assert client.lrange("rq:queue:hookd", 0, -1) == [answer.deployment.encode()]
    assert waiting(client) == answer.deployment


def test_second_push_coalesces(records: DeploymentStore, client: Redis) -> None:
    first = ask(records, delivery="d-1")
    for number in range(3):
        assert ask(records, delivery=f"e-{number}") == RequestResult(first.deployment, "coalesced")
    assert records.get(first.deployment).coalesced == 3
    assert client.llen("rq:queue:hookd") == 1


def test_push_waits_behind_a_running_deployment(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    start(records, first.deployment)
    second = ask(records)
    assert second.kind == "created"
    assert SafeJob.fetch(second.deployment, connection=client).get_status() == JobStatus.RATE_LIMITED
    assert client.llen("rq:queue:hookd") == 1


def test_apps_do_not_join_each_other(records: DeploymentStore, client: Redis) -> None:
    assert [ask(records, app=app).kind for app in ("shop", "blog")] == ["created", "created"]
    assert client.llen("rq:queue:hookd") == 2


def test_repeated_delivery_names_its_deployment(records: DeploymentStore) -> None:
    first = ask(records, delivery="d-1")
    assert ask(records, delivery="d-1") == RequestResult(first.deployment, "duplicate")
    assert records.get(first.deployment).coalesced == 0


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.UNCHANGED, Status.SUPERSEDED])
def test_delivery_after_good_ending_is_duplicate(records: DeploymentStore, status: Status) -> None:
    first = ask(records, delivery="d-1")
    end(records, first.deployment, status)
    assert ask(records, delivery="d-1") == RequestResult(first.deployment, "duplicate")


@pytest.mark.parametrize("status", sorted(RETRYABLE_ENDINGS))
def test_delivery_after_bad_ending_runs_again(records: DeploymentStore, status: Status) -> None:
    first = ask(records, delivery="d-1")
    end(records, first.deployment, status)
    again = ask(records, delivery="d-1")
    assert again.kind == "created"
    assert records.get(again.deployment).trigger is Trigger.REDELIVERY
    assert ask(records, delivery="d-1") == RequestResult(again.deployment, "duplicate")


def test_coalesced_delivery_is_a_duplicate(records: DeploymentStore) -> None:
    first = ask(records, delivery="d-1")
    ask(records, delivery="d-2")
    assert ask(records, delivery="d-2") == RequestResult(first.deployment, "duplicate")


def test_deliveries_belong_to_their_app(records: DeploymentStore) -> None:
    assert ask(records, delivery="d-1").deployment != ask(records, app="blog", delivery="d-1").deployment


@pytest.mark.parametrize(
    ("waits", "asked", "kind"),
    [
        (Trigger.PUSH, Trigger.REDELIVERY, "created"),
        (Trigger.REDELIVERY, Trigger.PUSH, "coalesced"),
        (Trigger.REDELIVERY, Trigger.REDELIVERY, "coalesced"),
        (Trigger.PUSH, Trigger.MANUAL, "created"),
        (Trigger.MANUAL, Trigger.PUSH, "coalesced"),
        (Trigger.MANUAL, Trigger.REPLAY, "coalesced"),
        (Trigger.MANUAL, Trigger.ROLLBACK, "created"),
        (Trigger.ROLLBACK, Trigger.PUSH, "coalesced"),
        (Trigger.ROLLBACK, Trigger.REDELIVERY, "coalesced"),
        (Trigger.ROLLBACK, Trigger.RECONCILE, "coalesced"),
        (Trigger.ROLLBACK, Trigger.UPDATE, "created"),
        (Trigger.ROLLBACK, Trigger.UNPIN, "created"),
        (Trigger.ROLLBACK, Trigger.MANUAL, "created"),
        (Trigger.ROLLBACK, Trigger.ROLLBACK, "created"),
    ],
)
def test_coalescing_by_trigger(records: DeploymentStore, waits: Trigger, asked: Trigger, kind: str) -> None:
    first = ask(records, waits)
    second = ask(records, asked)
    assert second.kind == kind
    assert records.get(first.deployment).status is (Status.QUEUED if kind == "coalesced" else Status.SUPERSEDED)


@pytest.mark.promise(18)
def test_superseded_deployment_names_its_successor(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    second = ask(records, Trigger.MANUAL)
    old = records.get(first.deployment)
    assert (old.superseded_by, old.ended) == (second.deployment, True)
    assert second.deployment in (old.cause or "")
    assert waiting(client) == second.deployment


@pytest.mark.parametrize(("waits", "asks"), [({"pinned_commit": A}, {}), ({}, {"pinned_commit": A})])
def test_chosen_commit_coalesces_nothing(records: DeploymentStore, waits: dict[str, str], asks: dict[str, str]) -> None:
    first = ask(records, Trigger.MANUAL, **waits)
    second = ask(records, Trigger.MANUAL, **asks)
    assert second.kind == "created"
    assert records.get(second.deployment).pinned_commit == asks.get("pinned_commit")
    assert records.get(first.deployment).status is Status.SUPERSEDED


@pytest.mark.parametrize("trigger", [Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE])
def test_push_keeps_the_chosen_commit(records: DeploymentStore, trigger: Trigger) -> None:
    first = ask(records, Trigger.MANUAL, pinned_commit=A)
    assert ask(records, trigger) == RequestResult(first.deployment, "coalesced")


def test_superseded_job_stays_first(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    second = ask(records, Trigger.MANUAL)
    assert client.lrange("rq:queue:hookd", 0, -1) == [first.deployment.encode()]
    assert SafeJob.fetch(second.deployment, connection=client).get_status() == JobStatus.RATE_LIMITED


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


def test_running_deployment_does_not_wait(records: DeploymentStore, client: Redis) -> None:
    answer = ask(records)
    start(records, answer.deployment)
    assert waiting(client) is None


def test_ending_keeps_the_waiting_deployment(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    start(records, first.deployment)
    second = ask(records)
    end(records, first.deployment, Status.SUCCEEDED)
    assert waiting(client) == second.deployment


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
    [{}, {"record": "{}"}, {"record": b"\xff"}, {"record": "[" * 9999}, {"beside": "1"}, "a text"],
)
def test_invalid_record_is_missing(records: DeploymentStore, client: Redis, content: Any) -> None:
    deployment_id = "shop-20260304T050607000-0a1b2c"
    if isinstance(content, str):
        client.set(redis_keys.record_key(deployment_id), content)
    elif content:
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


@pytest.mark.threat(83)
def test_delivery_is_remembered_for_a_week(url: str, client: Redis) -> None:
    records = DeploymentStore(client, keep_seconds=90 * 86400)
    for delivery in ("made", "coalesced"):
        ask(records, delivery=delivery)
        assert 6 * 86400 < int(client.ttl(redis_keys.delivery_key("shop", delivery))) <= 7 * 86400


@pytest.mark.threat(83)
def test_delivery_expires_with_its_deployment(records: DeploymentStore, client: Redis) -> None:
    ask(records, delivery="one")
    assert 0 < int(client.ttl(redis_keys.delivery_key("shop", "one"))) <= 3600


def old_deployments(records: DeploymentStore, count: int) -> list[str]:
    """Deployments of one app, a day apart, the newest first, all ended."""
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
    assert AppStatusStore(records.connection).read("shop") == AppStatus(app="shop")
    AppStatusStore(records.connection).publish(view)
    assert AppStatusStore(records.connection).read("shop") == view
    assert AppStatusStore(records.connection).read("blog") == AppStatus(app="blog")


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b'{"app": "../x"}', b"[" * 9999])
def test_invalid_status_is_empty(records: DeploymentStore, client: Redis, content: bytes) -> None:
    client.set(redis_keys.app_status_key("shop"), content)
    assert AppStatusStore(records.connection).read("shop") == AppStatus(app="shop")


@pytest.mark.threat(57)
def test_record_of_another_id_is_missing(records: DeploymentStore) -> None:
    mine = records.request(DeploymentRequest(app="shop", trigger=Trigger.PUSH, seconds=60)).deployment
    other = records.request(DeploymentRequest(app="blog", trigger=Trigger.PUSH, seconds=60)).deployment
    stolen = records.connection.hget(redis_keys.record_key(other), "record")
    assert stolen is not None
    records.connection.hset(redis_keys.record_key(mine), "record", stolen)
    assert records.find(mine) is None


@pytest.mark.threat(58)
def test_another_apps_deployment_is_ignored(records: DeploymentStore, client: Redis) -> None:
    blog = ask(records, app="blog")
    client.set(redis_keys.waiting_key("shop"), blog.deployment)
    client.set(redis_keys.delivery_key("shop", "d-1"), blog.deployment)
    answer = ask(records, delivery="d-1")
    assert (answer.kind, waiting(client)) == ("created", answer.deployment)
    assert (records.get(blog.deployment).coalesced, waiting(client, "blog")) == (0, blog.deployment)
