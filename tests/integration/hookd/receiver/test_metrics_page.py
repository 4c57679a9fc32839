"""The metrics page for Prometheus: formats, documentation, alerts, and several processes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from hookd.model.decision import Lag, Verdict
from hookd.model.deployment import (
    Status,
)
from hookd.queue.published import AppStatus, publish_status
from hookd.receiver.server import build
from tests.support.metrics import AT, asked, run, scraped, step, value
from tests.support.processes import PROJECT
from tests.support.receiver import LocalReceiver, content


def test_openmetrics_is_spoken_too(receiver: LocalReceiver) -> None:
    run(receiver, Status.SUCCEEDED, steps=(step("fetch"),))
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = receiver.get("/metrics", {"Accept": accept})
    assert response.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(response.text)}  # type: ignore[no-untyped-call]
    assert families["hookd_deployments"].type == "counter"
    plain = receiver.get("/metrics")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert {family.name for family in parse(plain.text)} == set(families)


def test_metrics_are_documented(receiver: LocalReceiver) -> None:
    page = (PROJECT / "docs" / "metrics.md").read_text()
    run(receiver, Status.SUCCEEDED, steps=(step("fetch"),))
    for family in parse(receiver.get("/metrics").text):
        assert family.documentation
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}" in page, name


@pytest.mark.threat(56)
def test_all_processes_say_the_same(receiver: LocalReceiver) -> None:
    other = LocalReceiver(build(receiver.config), receiver.redis, receiver.config)
    receiver.push()
    run(receiver, Status.SUCCEEDED)
    other.push(delivery="second")
    assert {key: number for key, number in scraped(other).items() if "age" not in key[0]} == {
        key: number for key, number in scraped(receiver).items() if "age" not in key[0]
    }


def test_flush_resets_counters(receiver: LocalReceiver) -> None:
    run(receiver, Status.SUCCEEDED)
    receiver.redis.flushall()
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 0
    run(receiver, Status.SUCCEEDED)
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 1


@pytest.mark.promise(63)
def test_push_changes_the_metrics(receiver: LocalReceiver) -> None:
    deployment = content(receiver.push())["deployment"]
    receiver.end(deployment, Status.SUCCEEDED)
    assert value(receiver, "hookd_deliveries_total", verdict="queued") == 1
    assert value(receiver, "hookd_deployments_total", ending="succeeded") == 1


def blocks() -> list[str]:
    """Return the YAML blocks of the page about metrics: Prometheus' configuration and the alerts."""
    return re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "metrics.md").read_text(), re.DOTALL)


def promtool() -> str:
    """Prometheus' own checker, where it is installed."""
    return shutil.which("promtool") or pytest.skip("there is no promtool here; on Debian: apt-get install prometheus")


@pytest.mark.promise(63)
def test_promtool_accepts_the_metrics(receiver: LocalReceiver) -> None:
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
    assert done.returncode == 0 and "6 rules found" in done.stdout, done.stdout + done.stderr


@pytest.mark.threat(39)
def test_alerts_use_existing_metrics(receiver: LocalReceiver) -> None:
    behind = Lag(commits=1, since=AT, verdict=Verdict.WAITING, why="x")
    publish_status(receiver.redis, AppStatus(app="github", healthy=False, head_seen_at=AT, lag=behind))
    run(receiver, Status.FAILED)
    there = {name for name, _ in scraped(receiver)}
    expressions = re.findall(r"expr: (.*)", blocks()[1])
    assert len(expressions) == 7
    assert {name for each in expressions for name in re.findall(r"hookd_\w+", each)} <= there
