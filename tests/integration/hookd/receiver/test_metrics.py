"""Metrics: what is counted, once and not twice; what Prometheus reads; that no stranger makes a series."""

import ast
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from hookd import freezes
from hookd.model import redis_keys
from hookd.model.app_status import AppStatus
from hookd.model.decision import Lag, Verdict
from hookd.model.deployment import (
    ENDINGS,
    TRANSITIONS,
    IllegalTransition,
    Status,
    Step,
    StepName,
    Trigger,
    advance,
    with_step,
)
from hookd.model.eligibility import Freeze
from hookd.model.hint import Hint, HintKind
from hookd.queue import counters
from hookd.queue.app_status import AppStatusStore
from hookd.queue.deployments import DeploymentRequest
from hookd.receiver.server import build
from tests.support.processes import PROJECT, wait_for
from tests.support.receiver import NEW, OLD, Bench, content, headers_of, push_body

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
APPS = ["forgejo", "gitea", "github", "gogs"]
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(receiver: Bench) -> Series:
    """Every series of the page, as Prometheus' own library reads it."""
    response = receiver.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(response.text)
        for sample in family.samples
    }


def value(receiver: Bench, name: str, app: str = "github", **labels: str) -> float | None:
    """One series; None when there is none."""
    return scraped(receiver).get((name, tuple(sorted({"app": app, **labels}.items()))))


def asked(receiver: Bench, trigger: Trigger = Trigger.MANUAL) -> str:
    return receiver.records.request(DeploymentRequest(app="github", trigger=trigger, seconds=60)).deployment


def run(receiver: Bench, ending: Status, seconds: float = 10, steps: tuple[Step, ...] = ()) -> str:
    """Let a deployment come to an ending, as the worker does."""
    deployment, records = asked(receiver), receiver.records
    records.change(deployment, lambda old: advance(old, Status.RUNNING, AT))
    for step in steps:
        records.change(deployment, lambda old, step=step: with_step(old, step))  # type: ignore[misc]
    records.change(deployment, lambda old: advance(old, ending, AT + timedelta(seconds=seconds)))
    return deployment


def step(name: str, seconds: float | None = 1.5) -> Step:
    return Step(name=name, started_at=AT, seconds=seconds, outcome="done" if seconds is not None else "running")


def test_new_app_has_zeros(receiver: Bench) -> None:
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
def test_endings_are_counted_once(receiver: Bench, ending: Status) -> None:
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


def test_superseded_takes_no_time(receiver: Bench) -> None:
    run(receiver, Status.FAILED)
    asked(receiver, Trigger.PUSH)
    asked(receiver, Trigger.MANUAL)
    assert value(receiver, "hookd_deployments_total", ending="superseded") == 1
    assert value(receiver, "hookd_deployment_seconds_count") == 1
    assert value(receiver, "hookd_last_ending", ending="failed") == 1, "one that never started says nothing of the app"
    assert value(receiver, "hookd_last_ending", ending="superseded") is None


def test_the_last_ending_is_the_last_one(receiver: Bench) -> None:
    run(receiver, Status.ROLLED_BACK)
    run(receiver, Status.SUCCEEDED)
    assert value(receiver, "hookd_last_ending", ending="succeeded") == 1
    assert value(receiver, "hookd_last_ending", ending="rolled_back") is None


def test_unknown_steps_count_as_other(receiver: Bench) -> None:
    steps = (step("fetch"), step("build", 20), step("x" * 1000, 1), step("evil\n", 2), step("prune", None))
    run(receiver, Status.SUCCEEDED, steps=steps)
    run(receiver, Status.FAILED, steps=(step("fetch", 2),))
    sums = {labels: number for (name, labels), number in scraped(receiver).items() if name == "hookd_step_seconds_sum"}
    found = {dict(labels)["step"]: number for labels, number in sums.items()}
    assert found == {"fetch": 3.5, "build": 20, "other": 3}
    assert value(receiver, "hookd_step_seconds_count", step="fetch") == 2


@pytest.mark.threat(32)
def test_clock_jump_never_lowers_counts(receiver: Bench) -> None:
    run(receiver, Status.SUCCEEDED, seconds=5)
    run(receiver, Status.SUCCEEDED, seconds=-3600)
    assert value(receiver, "hookd_deployment_seconds_sum") == 5
    assert value(receiver, "hookd_deployment_seconds_count") == 2


def test_each_step_has_a_series() -> None:
    used = set()
    for file in (PROJECT / "worker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("recorder.step"):
                used.add(StepName[ast.unparse(node.args[0]).removeprefix("StepName.")])
    assert used == set(StepName) == set(counters.STEPS) - {"other"}


def test_deliveries_are_counted_by_verdict(receiver: Bench) -> None:
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
def test_refusals_are_counted_without_app(receiver: Bench) -> None:
    body = push_body("github")
    for path in ("/hooks/github", "/hooks/github", "/hooks/nobody", "/hooks/github%0a"):
        receiver.post(path, body, headers_of("github", b"other"))
    wait_for(lambda: value(receiver, "hookd_refused_signatures_total", "-") == 2, what="the refusals")
    assert value(receiver, "hookd_refused_signatures_total") == 2
    assert value(receiver, "hookd_last_delivery_timestamp_seconds") is None


def test_queue_age_ends_with_the_start(receiver: Bench) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=100)
    asking = DeploymentRequest(app="github", trigger=Trigger.PUSH, seconds=60)
    deployment = receiver.records.request(asking, now=long_ago).deployment
    assert value(receiver, "hookd_waiting") == 1
    assert 100 <= (value(receiver, "hookd_queue_age_seconds") or 0) < 200
    receiver.records.change(deployment, lambda old: advance(old, Status.RUNNING, AT))
    assert value(receiver, "hookd_waiting") == value(receiver, "hookd_queue_age_seconds") == 0


@pytest.mark.threat(38)
@pytest.mark.parametrize(("commits", "shown"), [(3, 3.0), (None, None)])
def test_lag_is_a_metric(receiver: Bench, commits: int | None, shown: float | None) -> None:
    behind = Lag(commits=commits, since=AT, verdict=Verdict.QUARANTINED, why="a stranger's\ntext")
    view = AppStatus(app="github", deployed_commit=OLD, head=NEW, head_seen_at=AT, healthy=False, lag=behind)
    AppStatusStore(receiver.records.connection).publish(view)
    assert value(receiver, "hookd_lag_since_timestamp_seconds", reason="quarantined") == AT.timestamp()
    assert value(receiver, "hookd_lag_commits", reason="quarantined") == shown
    assert value(receiver, "hookd_app_healthy") == 0
    assert value(receiver, "hookd_head_seen_timestamp_seconds") == AT.timestamp()
    AppStatusStore(receiver.records.connection).publish(view.model_copy(update={"lag": None, "healthy": True}))
    assert not [name for name, _ in scraped(receiver) if name.startswith("hookd_lag")]
    assert value(receiver, "hookd_app_healthy") == 1


def test_a_frozen_app_says_so(receiver: Bench) -> None:
    freezes.freeze(receiver.config.frozen, "gogs", Freeze(reason="x", since=AT))
    assert value(receiver, "hookd_frozen", "gogs") == 1
    freezes.thaw(receiver.config.frozen, "gogs")
    assert value(receiver, "hookd_frozen", "gogs") == 0


@pytest.mark.threat(56)
def test_forged_counters_are_ignored(receiver: Bench) -> None:
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
@pytest.mark.parametrize("key", [redis_keys.counts_key, redis_keys.app_status_key, redis_keys.waiting_key])
def test_wrong_key_type_hides_one_app_only(receiver: Bench, key: Any) -> None:
    asked(receiver)
    receiver.redis.delete(key("gogs"))
    receiver.redis.rpush(key("gogs"), "poison")
    assert value(receiver, "hookd_waiting") == 1


@pytest.mark.parametrize("id", ["github-20261399T996199999-abcdef", "gogs-20260304T050607000-0a1b2c", "", "\udcff"])
def test_invalid_waiting_id_is_ignored(receiver: Bench, id: str) -> None:
    receiver.redis.set(redis_keys.waiting_key("github"), id.encode("utf-8", "surrogateescape"))
    assert value(receiver, "hookd_waiting") == 0


def test_openmetrics_is_spoken_too(receiver: Bench) -> None:
    run(receiver, Status.SUCCEEDED, steps=(step("fetch"),))
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = receiver.get("/metrics", {"Accept": accept})
    assert response.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(response.text)}  # type: ignore[no-untyped-call]
    assert families["hookd_deployments"].type == "counter"
    plain = receiver.get("/metrics")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert {family.name for family in parse(plain.text)} == set(families)


def test_metrics_are_documented(receiver: Bench) -> None:
    page = (PROJECT / "docs" / "metrics.md").read_text()
    run(receiver, Status.SUCCEEDED, steps=(step("fetch"),))
    for family in parse(receiver.get("/metrics").text):
        assert family.documentation
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}" in page, name


@pytest.mark.threat(56)
def test_all_processes_say_the_same(receiver: Bench) -> None:
    other = Bench(build(receiver.config), receiver.redis, receiver.config)
    receiver.push()
    run(receiver, Status.SUCCEEDED)
    other.push(delivery="second")
    assert {key: number for key, number in scraped(other).items() if "age" not in key[0]} == {
        key: number for key, number in scraped(receiver).items() if "age" not in key[0]
    }


def test_flush_resets_counters(receiver: Bench) -> None:
    run(receiver, Status.SUCCEEDED)
    receiver.redis.flushall()
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 0
    run(receiver, Status.SUCCEEDED)
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 1


@pytest.mark.promise(63)
def test_push_changes_the_metrics(receiver: Bench) -> None:
    deployment = content(receiver.push())["deployment"]
    receiver.end(deployment, Status.SUCCEEDED)
    assert value(receiver, "hookd_deliveries_total", verdict="queued") == 1
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 1


def blocks() -> list[str]:
    """The YAML of the page about metrics: what Prometheus asks, and its alerts."""
    return re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "metrics.md").read_text(), re.DOTALL)


def promtool() -> str:
    """Prometheus' own checker, where it is installed."""
    return shutil.which("promtool") or pytest.skip("there is no promtool here; on Debian: apt-get install prometheus")


@pytest.mark.promise(63)
def test_promtool_accepts_the_metrics(receiver: Bench) -> None:
    run(receiver, Status.SUCCEEDED, steps=(step("fetch"),))
    asked(receiver)
    done = subprocess.run(
        [promtool(), "check", "metrics"], input=receiver.get("/metrics").data, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.threat(39)
def test_promtool_accepts_the_alerts(tmp_path: Path) -> None:
    scrape, rules = blocks()
    (tmp_path / "prometheus.yml").write_text(f"rule_files: [rules.yml]\n{scrape}")
    (tmp_path / "rules.yml").write_text(rules)
    argv = [promtool(), "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
    argv = [promtool(), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "5 rules found" in done.stdout, done.stdout + done.stderr


@pytest.mark.threat(39)
def test_alerts_use_existing_metrics(receiver: Bench) -> None:
    behind = Lag(commits=1, since=AT, verdict=Verdict.WAITING, why="x")
    AppStatusStore(receiver.records.connection).publish(AppStatus(app="github", head_seen_at=AT, lag=behind))
    run(receiver, Status.FAILED)
    there = {name for name, _ in scraped(receiver)}
    expressions = re.findall(r"expr: (.*)", blocks()[1])
    assert len(expressions) == 6
    assert {name for each in expressions for name in re.findall(r"hookd_\w+", each)} <= there
