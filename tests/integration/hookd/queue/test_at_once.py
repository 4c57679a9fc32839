"""Many writers and a Redis that refuses: a deployment is there with its job or not at all, and no app gets stuck."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier, Event

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq.job import JobStatus
from rq.rate_limit import RateLimitRegistry

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import IllegalTransition, Status, Trigger, advance
from hookd.queue.client import watch
from hookd.queue.deployments import DeploymentStore, RequestResult
from hookd.queue.rq_classes import SafeJob, SafeQueue
from tests.support.deployments import ask

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
WRITERS = 8


def push(records: DeploymentStore, delivery: str | None = None, trigger: Trigger = Trigger.PUSH) -> RequestResult:
    return ask(records, trigger, delivery=delivery)


def everything(client: Redis) -> dict[bytes, bytes | None]:
    """Return all content of Redis by its keys."""
    return {key: client.dump(key) for key in client.scan_iter()}


def at_once(writers: list[Callable[[], RequestResult]]) -> list[RequestResult]:
    """Start several writers at the same moment and return their results."""
    gate = Barrier(len(writers))

    def run(writer: Callable[[], RequestResult]) -> RequestResult:
        gate.wait(10)
        return writer()

    with ThreadPoolExecutor(len(writers)) as pool:
        return list(pool.map(run, writers))


def writer(url: str, delivery: str | None, trigger: Trigger = Trigger.PUSH) -> Callable[[], RequestResult]:
    def write() -> RequestResult:
        with Redis.from_url(url, socket_timeout=10) as client:
            return push(DeploymentStore(client, keep_seconds=3600), delivery, trigger)

    return write


# Each of these stands in the transaction or ends it; `expire` does when another deployment is superseded.
@pytest.mark.threat(45)
@pytest.mark.parametrize("command", ["exec", "hset", "zadd", "set", "sadd", "evalsha", "expire"])
def test_denied_transaction_leaves_nothing(url: str, client: Redis, records: DeploymentStore, command: str) -> None:
    first = push(records, "d-1")
    before = everything(client)
    client.acl_setuser("half", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{command}"], reset=True)
    with Redis.from_url(url, username="half", password="", socket_timeout=5) as refused, pytest.raises(RedisError):
        push(DeploymentStore(refused, keep_seconds=3600), "d-2", Trigger.MANUAL)
    assert everything(client) == before
    assert push(records, "d-2", Trigger.MANUAL).verdict is Verdict.QUEUED
    assert records.get(first.deployment).status is Status.SUPERSEDED


def test_denied_coalescing_leaves_nothing(url: str, client: Redis, records: DeploymentStore) -> None:
    push(records, "d-1")
    before = everything(client)
    client.acl_setuser("half", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hincrby"], reset=True)
    with Redis.from_url(url, username="half", password="", socket_timeout=5) as refused, pytest.raises(RedisError):
        push(DeploymentStore(refused, keep_seconds=3600), "d-2")
    assert everything(client) == before


def test_full_redis_takes_nothing(client: Redis, records: DeploymentStore) -> None:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisError):
            push(records, "d-1")
    finally:
        client.config_set("maxmemory", "0")
    assert everything(client) == {}
    assert push(records, "d-1").verdict is Verdict.QUEUED


def test_concurrent_pushes_coalesce(url: str, client: Redis, records: DeploymentStore) -> None:
    answers = at_once([writer(url, f"d-{number}") for number in range(WRITERS)])
    assert sorted(answer.verdict for answer in answers) == [*[Verdict.COALESCED] * (WRITERS - 1), Verdict.QUEUED]
    [deployment_id] = {answer.deployment for answer in answers}
    assert records.get(deployment_id).coalesced == WRITERS - 1
    assert client.llen("rq:queue:hookd") == 1


@pytest.mark.threat(4)
def test_concurrent_redeliveries_count_once(url: str, records: DeploymentStore) -> None:
    answers = at_once([writer(url, "d-1") for _ in range(WRITERS)])
    assert sorted(answer.verdict for answer in answers) == [*[Verdict.DUPLICATE] * (WRITERS - 1), Verdict.QUEUED]
    assert records.get(answers[0].deployment).coalesced == 0


def test_concurrent_manual_requests_supersede(url: str, records: DeploymentStore) -> None:
    answers = at_once([writer(url, None, Trigger.ROLLBACK) for _ in range(WRITERS)])
    history = records.history("shop", 99)
    assert {record.id for record in history} == {answer.deployment for answer in answers}
    assert len(history) == WRITERS
    [waits] = [record for record in history if record.status is Status.QUEUED]
    replaced = {record.superseded_by for record in history}
    assert replaced == {record.id for record in history} - {first_of(records)} | {None}
    assert waits.superseded_by is None


def first_of(records: DeploymentStore) -> str:
    """Return the deployment that superseded no other."""
    history = records.history("shop", 99)
    [first] = {record.id for record in history} - {record.superseded_by for record in history}
    return first


@pytest.mark.threat(53)
def test_push_joins_no_starting_deployment(url: str, records: DeploymentStore) -> None:
    for number in range(20):
        waits = push(records).deployment

        def start(deployment_id: str = waits) -> RequestResult:
            with Redis.from_url(url, socket_timeout=10) as client:
                own = DeploymentStore(client, keep_seconds=3600)
                own.change(deployment_id, lambda old: advance(old, Status.RUNNING, AT))
            return RequestResult(deployment_id, Verdict.QUEUED)

        _, answer = at_once([start, writer(url, f"d-{number}")])
        coalesced = records.get(waits).coalesced
        assert (answer.verdict, coalesced) in {(Verdict.COALESCED, 1), (Verdict.QUEUED, 0)}
        assert (answer.deployment == waits) == (answer.verdict is Verdict.COALESCED)
        records.change(waits, lambda old: advance(old, Status.SUCCEEDED, AT))
        if answer.verdict is Verdict.QUEUED:
            records.change(answer.deployment, lambda old: advance(old, Status.CANCELLED, AT))


@pytest.mark.threat(53)
def test_concurrent_endings_record_one(url: str, records: DeploymentStore) -> None:
    waits = push(records).deployment
    records.change(waits, lambda old: advance(old, Status.RUNNING, AT))

    def ending(status: Status) -> Callable[[], RequestResult]:
        def end() -> RequestResult:
            with Redis.from_url(url, socket_timeout=10) as client:
                try:
                    DeploymentStore(client, keep_seconds=3600).change(waits, lambda old: advance(old, status, AT))
                except IllegalTransition:
                    return RequestResult(waits, Verdict.DUPLICATE)
            return RequestResult(waits, Verdict.QUEUED)

        return end

    statuses = [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED]
    answers = at_once([ending(status) for status in statuses])
    [winner] = [status for status, answer in zip(statuses, answers, strict=True) if answer.verdict is Verdict.QUEUED]
    assert records.get(waits).status is winner


def test_emptied_queue_blocks_no_app(client: Redis, records: DeploymentStore) -> None:
    first = push(records)
    SafeQueue(connection=client).empty()  # type: ignore[no-untyped-call]
    second = push(records)
    assert second.verdict is Verdict.QUEUED
    assert records.get(first.deployment).status is Status.SUPERSEDED
    for registry in RateLimitRegistry.all(client):  # The worker does so at its start and every ten seconds.
        registry.cleanup()
    assert SafeJob.fetch(second.deployment, connection=client).get_status() == JobStatus.QUEUED
    assert client.lrange("rq:queue:hookd", 0, -1) == [second.deployment.encode()]


@pytest.mark.threat(15)
@pytest.mark.parametrize("status", ["failed", "finished", "canceled", "stopped", "", "nonsense"])
def test_dead_job_coalesces_nothing(client: Redis, records: DeploymentStore, status: str) -> None:
    first = push(records)
    client.hset(SafeJob.key_for(first.deployment), "status", status)
    assert push(records).verdict is Verdict.QUEUED
    assert records.get(first.deployment).status is Status.SUPERSEDED


def test_lost_record_blocks_no_push(client: Redis, records: DeploymentStore) -> None:
    first = push(records, "d-1")
    client.delete(redis_keys.record_key(first.deployment))
    again = push(records, "d-1")
    assert again.verdict is Verdict.QUEUED
    assert again.deployment != first.deployment


def test_flushed_redis_takes_a_push(client: Redis, records: DeploymentStore) -> None:
    push(records, "d-1")
    client.flushall()
    client.script_flush()
    assert push(records, "d-1").verdict is Verdict.QUEUED
    assert client.llen("rq:queue:hookd") == 1


def test_coalesced_push_restarts_nothing(client: Redis, records: DeploymentStore) -> None:
    deployment = push(records).deployment
    with client.pipeline() as start:
        watch(start, redis_keys.record_key(deployment), redis_keys.waiting_key("shop"))
        assert push(records) == RequestResult(deployment, Verdict.COALESCED)
        start.multi()
        start.ping()
        assert start.execute() == [True]


@pytest.mark.threat(54)
def test_deployment_starts_during_a_flood(url: str, client: Redis, records: DeploymentStore) -> None:
    """They are counted apart from the record: it used to change with each of them, and its start found no gap."""
    over = Event()

    def flood() -> None:
        with Redis.from_url(url, socket_timeout=10) as connection:
            while not over.is_set():
                push(DeploymentStore(connection, keep_seconds=3600))

    with ThreadPoolExecutor(WRITERS) as pool:
        floods = [pool.submit(flood) for _ in range(WRITERS)]
        try:
            for _ in range(10):
                deployment = push(records).deployment
                if records.get(deployment).status is Status.QUEUED:
                    records.change(deployment, lambda old: advance(old, Status.RUNNING, AT))
                    records.change(deployment, lambda old: advance(old, Status.UNCHANGED, AT))
        finally:
            over.set()
        for each in floods:
            each.result()
