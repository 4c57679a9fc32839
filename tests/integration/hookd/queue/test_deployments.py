"""Requests for deployments in a real Redis: created, coalesced, superseded and repeated."""

import pytest
from redis import Redis
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import (
    RETRYABLE_ENDINGS,
    Status,
    Trigger,
)
from hookd.queue.deployments import DeploymentStore, RequestResult
from hookd.queue.rq_classes import SafeJob
from tests.support.deployments import ask, end, fingerprint_of, start, waiting

A = "a" * 40


@pytest.mark.threat(45)
def test_record_and_job_share_an_id(records: DeploymentStore, client: Redis) -> None:
    answer = ask(records, delivery="d-1", claimed_commit=A)
    record = records.get(answer.deployment)
    assert answer.verdict is Verdict.QUEUED
    assert (record.status, record.delivery, record.claimed_commit) == (Status.QUEUED, "d-1", A)
    job = SafeJob.fetch(answer.deployment, connection=client)
    assert (job.func_name, job.args) == (redis_keys.DEPLOY, [answer.deployment])
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (300, 3600, 3600)
    assert client.lrange("rq:queue:hookd", 0, -1) == [answer.deployment.encode()]
    assert waiting(client) == answer.deployment


def test_second_push_coalesces(records: DeploymentStore, client: Redis) -> None:
    first = ask(records, delivery="d-1")
    for number in range(3):
        assert ask(records, delivery=f"e-{number}") == RequestResult(first.deployment, Verdict.COALESCED)
    assert records.get(first.deployment).coalesced == 3
    assert client.llen("rq:queue:hookd") == 1


def test_fresh_environment_is_not_lost(records: DeploymentStore) -> None:
    first = ask(records, Trigger.MANUAL)
    fresh = ask(records, Trigger.MANUAL, fresh=True)
    assert records.get(fresh.deployment).fresh
    assert records.get(first.deployment).status is Status.SUPERSEDED
    for again in (ask(records, Trigger.MANUAL), ask(records, Trigger.MANUAL, fresh=True), ask(records)):
        assert again == RequestResult(fresh.deployment, Verdict.COALESCED)


def test_push_waits_behind_a_running_deployment(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    start(records, first.deployment)
    second = ask(records)
    assert second.verdict is Verdict.QUEUED
    assert SafeJob.fetch(second.deployment, connection=client).get_status() == JobStatus.RATE_LIMITED
    assert client.llen("rq:queue:hookd") == 1


def test_apps_do_not_join_each_other(records: DeploymentStore, client: Redis) -> None:
    assert [ask(records, app=app).verdict for app in ("shop", "blog")] == [Verdict.QUEUED, Verdict.QUEUED]
    assert client.llen("rq:queue:hookd") == 2


def test_repeated_delivery_names_its_deployment(records: DeploymentStore) -> None:
    first = ask(records, delivery="d-1")
    assert ask(records, delivery="d-1") == RequestResult(first.deployment, Verdict.DUPLICATE)
    assert records.get(first.deployment).coalesced == 0


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.UNCHANGED, Status.SUPERSEDED])
def test_delivery_after_good_ending_is_duplicate(records: DeploymentStore, status: Status) -> None:
    first = ask(records, delivery="d-1")
    end(records, first.deployment, status)
    assert ask(records, delivery="d-1") == RequestResult(first.deployment, Verdict.DUPLICATE)


@pytest.mark.parametrize("status", sorted(RETRYABLE_ENDINGS))
def test_delivery_after_bad_ending_runs_again(records: DeploymentStore, status: Status) -> None:
    first = ask(records, delivery="d-1")
    end(records, first.deployment, status)
    again = ask(records, delivery="d-1")
    assert again.verdict is Verdict.QUEUED
    assert records.get(again.deployment).trigger is Trigger.REDELIVERY
    assert ask(records, delivery="d-1") == RequestResult(again.deployment, Verdict.DUPLICATE)


def test_coalesced_delivery_is_a_duplicate(records: DeploymentStore) -> None:
    first = ask(records, delivery="d-1")
    ask(records, delivery="d-2")
    assert ask(records, delivery="d-2") == RequestResult(first.deployment, Verdict.DUPLICATE)


def test_deliveries_belong_to_their_app(records: DeploymentStore) -> None:
    assert ask(records, delivery="d-1").deployment != ask(records, app="blog", delivery="d-1").deployment


@pytest.mark.parametrize(
    ("waits", "asked", "verdict"),
    [
        (Trigger.PUSH, Trigger.REDELIVERY, Verdict.QUEUED),
        (Trigger.REDELIVERY, Trigger.PUSH, Verdict.COALESCED),
        (Trigger.REDELIVERY, Trigger.REDELIVERY, Verdict.COALESCED),
        (Trigger.PUSH, Trigger.MANUAL, Verdict.QUEUED),
        (Trigger.MANUAL, Trigger.PUSH, Verdict.COALESCED),
        (Trigger.MANUAL, Trigger.REPLAY, Verdict.COALESCED),
        (Trigger.MANUAL, Trigger.ROLLBACK, Verdict.QUEUED),
        (Trigger.ROLLBACK, Trigger.PUSH, Verdict.COALESCED),
        (Trigger.ROLLBACK, Trigger.REDELIVERY, Verdict.COALESCED),
        (Trigger.ROLLBACK, Trigger.RECONCILE, Verdict.COALESCED),
        (Trigger.ROLLBACK, Trigger.UPDATE, Verdict.QUEUED),
        (Trigger.ROLLBACK, Trigger.UNPIN, Verdict.QUEUED),
        (Trigger.ROLLBACK, Trigger.MANUAL, Verdict.QUEUED),
        (Trigger.ROLLBACK, Trigger.ROLLBACK, Verdict.QUEUED),
    ],
)
def test_coalescing_by_trigger(records: DeploymentStore, waits: Trigger, asked: Trigger, verdict: Verdict) -> None:
    first = ask(records, waits)
    second = ask(records, asked)
    assert second.verdict is verdict
    assert records.get(first.deployment).status is (
        Status.QUEUED if verdict is Verdict.COALESCED else Status.SUPERSEDED
    )


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
    assert second.verdict is Verdict.QUEUED
    assert records.get(second.deployment).pinned_commit == asks.get("pinned_commit")
    assert records.get(first.deployment).status is Status.SUPERSEDED


@pytest.mark.parametrize("trigger", [Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE])
def test_push_keeps_the_chosen_commit(records: DeploymentStore, trigger: Trigger) -> None:
    first = ask(records, Trigger.MANUAL, pinned_commit=A)
    assert ask(records, trigger) == RequestResult(first.deployment, Verdict.COALESCED)


def test_superseded_job_stays_first(records: DeploymentStore, client: Redis) -> None:
    first = ask(records)
    second = ask(records, Trigger.MANUAL)
    assert client.lrange("rq:queue:hookd", 0, -1) == [first.deployment.encode()]
    assert SafeJob.fetch(second.deployment, connection=client).get_status() == JobStatus.RATE_LIMITED


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


@pytest.mark.threat(83)
def test_push_is_remembered_for_a_week(url: str, client: Redis) -> None:
    records = DeploymentStore(client, keep_seconds=90 * 86400)
    for delivery in ("made", "coalesced"):
        ask(records, delivery=delivery)
        assert 6 * 86400 < int(client.ttl(redis_keys.push_key("shop", fingerprint_of(delivery)))) <= 7 * 86400


@pytest.mark.threat(83)
def test_push_expires_with_its_deployment(records: DeploymentStore, client: Redis) -> None:
    ask(records, delivery="one")
    assert 0 < int(client.ttl(redis_keys.push_key("shop", fingerprint_of("one")))) <= 3600


@pytest.mark.threat(58)
def test_another_apps_deployment_is_ignored(records: DeploymentStore, client: Redis) -> None:
    blog = ask(records, app="blog")
    client.set(redis_keys.waiting_key("shop"), blog.deployment)
    fingerprint = fingerprint_of("d-1")
    client.set(redis_keys.push_key("shop", fingerprint), f"{fingerprint} {blog.deployment} 0")
    answer = ask(records, delivery="d-1")
    assert (answer.verdict, waiting(client)) == (Verdict.QUEUED, answer.deployment)
    assert (records.get(blog.deployment).coalesced, waiting(client, "blog")) == (0, blog.deployment)
