"""Each event is counted once, and no request creates a series."""

import ast
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd import freezes
from hookd.model import redis_keys
from hookd.model.decision import Freeze, Lag, Verdict
from hookd.model.deployment import (
    ENDINGS,
    TRANSITIONS,
    IllegalTransition,
    Status,
    StepName,
    Trigger,
    advance,
)
from hookd.model.git_hosts import GitHost
from hookd.model.hint import Hint, HintKind
from hookd.queue import counters
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.published import AppStatus, publish_status
from tests.support.metrics import AT, asked, run, scraped, step, value
from tests.support.processes import PROJECT, wait_for
from tests.support.receiver import NEW, OLD, LocalReceiver, push_body
from tests.support.signatures import headers_of

APPS = [host.value for host in GitHost]


def test_new_app_has_zeros(receiver: LocalReceiver) -> None:
    found = scraped(receiver)
    assert {app for (_, labels) in found for key, app in labels if key == "app"} == {*APPS, "-"}
    for ending in ENDINGS:
        assert found["hookd_deployments_total", (("app", "gogs"), ("ending", ending))] == 0
    assert value(receiver, "hookd_refused_signatures_total", "gogs") == 0
    assert value(receiver, "hookd_waiting", "gogs") == value(receiver, "hookd_frozen", "gogs") == 0
    for unknown in ("hookd_app_healthy", "hookd_last_success_timestamp_seconds", "hookd_head_seen_timestamp_seconds"):
        assert value(receiver, unknown, "gogs") is None


@pytest.mark.threat(53)
@pytest.mark.parametrize("ending", sorted(TRANSITIONS[Status.RUNNING]))
def test_endings_are_counted_once(receiver: LocalReceiver, ending: Status) -> None:
    deployment = run(receiver, ending, seconds=12.5)
    with pytest.raises(IllegalTransition):
        receiver.records.change(deployment, lambda old: advance(old, Status.FAILED, AT))
    receiver.records.change(deployment, lambda old: old.model_copy(update={"hint": Hint(HintKind.DEPLOY)}))
    found = scraped(receiver)
    counted = {labels: number for (name, labels), number in found.items() if name == "hookd_deployments_total"}
    assert sum(counted.values()) == counted[("app", "github"), ("ending", ending)] == 1
    assert value(receiver, "hookd_deployment_seconds_count") == 1
    assert value(receiver, "hookd_deployment_seconds_sum") == 12.5
    assert value(receiver, "hookd_last_ending", ending=ending) == 1
    success = value(receiver, "hookd_last_success_timestamp_seconds")
    assert success == ((AT + timedelta(seconds=12.5)).timestamp() if ending is Status.SUCCEEDED else None)


def test_superseded_takes_no_time(receiver: LocalReceiver) -> None:
    run(receiver, Status.FAILED)
    asked(receiver, Trigger.PUSH)
    asked(receiver, Trigger.MANUAL)
    assert value(receiver, "hookd_deployments_total", ending="superseded") == 1
    assert value(receiver, "hookd_deployment_seconds_count") == 1
    assert value(receiver, "hookd_last_ending", ending="failed") == 1, "one that never started says nothing of the app"
    assert value(receiver, "hookd_last_ending", ending="superseded") is None


def test_last_ending_replaces_earlier_ones(receiver: LocalReceiver) -> None:
    run(receiver, Status.ROLLED_BACK)
    run(receiver, Status.SUCCEEDED)
    assert value(receiver, "hookd_last_ending", ending="succeeded") == 1
    assert value(receiver, "hookd_last_ending", ending="rolled_back") is None


def test_unknown_steps_count_as_other(receiver: LocalReceiver) -> None:
    steps = (step("fetch"), step("build", 20), step("x" * 1000, 1), step("evil\n", 2), step("prune", None))
    run(receiver, Status.SUCCEEDED, steps=steps)
    run(receiver, Status.FAILED, steps=(step("fetch", 2),))
    sums = {labels: number for (name, labels), number in scraped(receiver).items() if name == "hookd_step_seconds_sum"}
    found = {dict(labels)["step"]: number for labels, number in sums.items()}
    assert found == {"fetch": 3.5, "build": 20, "other": 3}
    assert value(receiver, "hookd_step_seconds_count", step="fetch") == 2


@pytest.mark.threat(32)
def test_clock_jump_never_lowers_counts(receiver: LocalReceiver) -> None:
    run(receiver, Status.SUCCEEDED, seconds=5)
    run(receiver, Status.SUCCEEDED, seconds=-3600)
    assert value(receiver, "hookd_deployment_seconds_sum") == 5
    assert value(receiver, "hookd_deployment_seconds_count") == 2


def test_each_step_has_a_series() -> None:
    used = set()
    for file in (PROJECT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "StepName":
                used.add(StepName[node.attr])
    assert used == set(StepName) == set(counters.STEPS) - {"other"}


def test_deliveries_are_counted_by_verdict(receiver: LocalReceiver) -> None:
    before = datetime.now(UTC).timestamp()
    for delivery, event in (("one", "push"), ("two", "push"), ("two", "push"), ("three", "ping"), ("four", "create")):
        receiver.push(delivery=delivery, event=event)
    counted = {
        dict(labels)["verdict"]: number
        for (name, labels), number in scraped(receiver).items()
        if name == "hookd_deliveries_total" and ("app", "github") in labels
    }
    assert counted == {"queued": 1, "coalesced": 1, "duplicate": 1, "ignored": 2, "frozen": 0}
    assert before <= (value(receiver, "hookd_last_delivery_timestamp_seconds") or 0) <= datetime.now(UTC).timestamp()


@pytest.mark.threat(55)
def test_refusals_are_counted_without_app(receiver: LocalReceiver) -> None:
    body = push_body("github")
    for path in ("/hooks/github", "/hooks/github", "/hooks/nobody", "/hooks/github%0a"):
        receiver.post(path, body, headers_of("github", b"other"))
    wait_for(lambda: value(receiver, "hookd_refused_signatures_total", "-") == 2, what="the refusals")
    assert value(receiver, "hookd_refused_signatures_total") == 2
    assert value(receiver, "hookd_last_delivery_timestamp_seconds") is None


def test_queue_age_ends_with_the_start(receiver: LocalReceiver) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=100)
    asking = DeploymentRequest(app="github", trigger=Trigger.PUSH, seconds=60)
    deployment = receiver.records.request(asking, now=long_ago).deployment
    assert value(receiver, "hookd_waiting") == 1
    assert 100 <= (value(receiver, "hookd_queue_age_seconds") or 0) < 200
    receiver.records.change(deployment, lambda old: advance(old, Status.RUNNING, AT))
    assert value(receiver, "hookd_waiting") == value(receiver, "hookd_queue_age_seconds") == 0


@pytest.mark.threat(38)
@pytest.mark.parametrize(("commits", "shown"), [(3, 3.0), (None, None)])
def test_lag_is_a_metric(receiver: LocalReceiver, commits: int | None, shown: float | None) -> None:
    behind = Lag(commits=commits, since=AT, verdict=Verdict.QUARANTINED, why="a stranger's\ntext")
    view = AppStatus(app="github", deployed_commit=OLD, head=NEW, head_seen_at=AT, healthy=False, lag=behind)
    publish_status(receiver.redis, view)
    assert value(receiver, "hookd_lag_since_timestamp_seconds", reason="quarantined") == AT.timestamp()
    assert value(receiver, "hookd_lag_commits", reason="quarantined") == shown
    assert value(receiver, "hookd_app_healthy") == 0
    assert value(receiver, "hookd_head_seen_timestamp_seconds") == AT.timestamp()
    publish_status(receiver.redis, view.model_copy(update={"lag": None, "healthy": True}))
    assert not [name for name, _ in scraped(receiver) if name.startswith("hookd_lag")]
    assert value(receiver, "hookd_app_healthy") == 1


def test_a_frozen_app_says_so(receiver: LocalReceiver) -> None:
    freezes.freeze(receiver.config.freeze_directory, "gogs", Freeze(reason="x", since=AT))
    assert value(receiver, "hookd_frozen", "gogs") == 1
    freezes.thaw(receiver.config.freeze_directory, "gogs")
    assert value(receiver, "hookd_frozen", "gogs") == 0


@pytest.mark.threat(56)
def test_forged_counters_are_ignored(receiver: LocalReceiver) -> None:
    run(receiver, Status.SUCCEEDED)
    before = set(scraped(receiver))
    evil = 'x"} 1\nevil{a="'
    for field, written in (
        *((f"ending:{evil}", "1"), (f"step:{evil}:count", "1"), (f"delivery:{evil}", "2"), ("ended", evil)),
        *(("ending:failed", "nan"), ("ending:cancelled", "-5"), ("refused", "1e999"), ("run:seconds", "inf")),
        *(("delivered_at", b"\xff"), ("succeeded_at", "x")),
    ):
        receiver.redis.hset(redis_keys.counts_key("github"), field, written)
    receiver.redis.set(redis_keys.app_status_key("github"), '{"app": "gogs", "healthy": true}')
    receiver.redis.set(redis_keys.waiting_key("github"), evil)
    receiver.redis.hset(redis_keys.counts_key("nobody"), "refused", 5)
    found = scraped(receiver)
    assert set(found) <= before
    assert all(number >= 0 and number < 1e12 for number in found.values())


@pytest.mark.threat(56)
@pytest.mark.parametrize("key", [redis_keys.app_status_key, redis_keys.waiting_key])
def test_wrong_key_type_hides_one_app(receiver: LocalReceiver, key: Any) -> None:
    asked(receiver)
    receiver.redis.delete(key("gogs"))
    receiver.redis.rpush(key("gogs"), "poison")
    assert value(receiver, "hookd_waiting") == 1


@pytest.mark.parametrize("id", ["github-20261399T996199999-abcdef", "", "\udcff"])
def test_invalid_waiting_id_is_ignored(receiver: LocalReceiver, id: str) -> None:
    receiver.redis.set(redis_keys.waiting_key("github"), id.encode("utf-8", "surrogateescape"))
    assert value(receiver, "hookd_waiting") == 0
