"""The metrics page of a receiver under test, and deployments that it counts."""

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families as parse

from hookd.model.deployment import (
    Status,
    Step,
    Trigger,
    advance,
    with_step,
)
from hookd.queue.deployments import DeploymentRequest
from tests.support.receiver import LocalReceiver

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(receiver: LocalReceiver) -> Series:
    """Return every series of the page, as Prometheus' own library reads it."""
    response = receiver.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(response.text)
        for sample in family.samples
    }


def value(receiver: LocalReceiver, name: str, app: str = "github", **labels: str) -> float | None:
    """Return the value of a series, or None."""
    return scraped(receiver).get((name, tuple(sorted({"app": app, **labels}.items()))))


def asked(receiver: LocalReceiver, trigger: Trigger = Trigger.MANUAL) -> str:
    return receiver.records.request(DeploymentRequest(app="github", trigger=trigger, seconds=60)).deployment


def run(receiver: LocalReceiver, ending: Status, seconds: float = 10, steps: tuple[Step, ...] = ()) -> str:
    """Run a deployment to an ending, as the worker does."""
    deployment, records = asked(receiver), receiver.records
    records.change(deployment, lambda old: advance(old, Status.RUNNING, AT))
    for step in steps:
        records.change(deployment, lambda old, step=step: with_step(old, step))  # type: ignore[misc]
    records.change(deployment, lambda old: advance(old, ending, AT + timedelta(seconds=seconds)))
    return deployment


def step(name: str, seconds: float | None = 1.5) -> Step:
    return Step(name=name, started_at=AT, seconds=seconds, outcome="done" if seconds is not None else "running")
