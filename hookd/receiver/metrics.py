"""Numbers for Prometheus, read from Redis when they are asked for: so all processes of the receiver say the same.

A label's value is an app of the catalogue or stands in a fixed list: no stranger makes a series. See docs/metrics.md.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flask import Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from hookd import freezes
from hookd.config import Config
from hookd.model.app_status import AppStatus
from hookd.model.ids import app_of, requested_at
from hookd.queue.app_status import AppStatusStore
from hookd.queue.counters import NO_APP, Counters, read_counters
from hookd.queue.deployments import DeploymentStore


@dataclass(frozen=True)
class AppSnapshot:
    """How one app stands; `queued` is for how many seconds its waiting deployment has waited, `view` what was seen."""

    app: str
    counts: Counters
    view: AppStatus
    queued: float | None
    frozen: bool


class AppMetrics(Collector):
    """Makes the families of metrics anew for each question; raises redis.exceptions.RedisError."""

    def __init__(self, config: Config, records: DeploymentStore) -> None:
        self._config = config
        self._records = records

    def collect(self) -> Iterator[Metric]:
        """Read everything in three questions to Redis, whatever the number of apps."""
        names = [app.name for app in self._config.catalogue.apps]
        now = datetime.now(UTC)
        *counts, nobody = read_counters(self._records.connection, [*names, NO_APP])
        seen = zip(
            names,
            counts,
            AppStatusStore(self._records.connection).read_all(names),
            self._records.waiting_ids(names),
            strict=True,
        )
        apps = [
            AppSnapshot(app, count, view, _queued(app, waiting, now), self._is_frozen(app, now))
            for app, count, view, waiting in seen
        ]
        yield from _deployments(apps)
        yield from _deliveries(apps, nobody)
        for name, text, value in GAUGES:
            yield _gauge(name, text, apps, value)
        yield from _lag(apps)

    def _is_frozen(self, app: str, now: datetime) -> bool:
        return freezes.active_freeze(self._config.frozen, app, now) is not None


def metrics_page(config: Config, records: DeploymentStore, request: Request) -> Response:
    """Answer a question of Prometheus, in the form that it asks for."""
    registry = CollectorRegistry()
    registry.register(AppMetrics(config, records))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type)


def _queued(app: str, waiting: str | None, now: datetime) -> float | None:
    """For how long a deployment has waited: its id says when it was asked for."""
    asked = requested_at(waiting or "")
    if waiting is None or asked is None or app_of(waiting) != app:
        return None
    return max(0.0, (now - asked).total_seconds())


Value = Callable[[AppSnapshot], float | None]
# One series for each app, left out where the value is not known.
GAUGES: Final[tuple[tuple[str, str, Value], ...]] = (
    ("hookd_waiting", "Whether a deployment waits", lambda it: it.queued is not None),
    ("hookd_queue_age_seconds", "For how long a deployment has waited; 0 when none waits", lambda it: it.queued or 0),
    ("hookd_frozen", "Whether a person froze the app", lambda it: it.frozen),
    ("hookd_app_healthy", "Whether the last health check was good", lambda it: it.view.healthy),
    ("hookd_last_delivery_timestamp_seconds", "The last signed delivery", lambda it: it.counts.delivered_at),
    ("hookd_last_success_timestamp_seconds", "The last deployment that succeeded", lambda it: it.counts.succeeded_at),
    (
        "hookd_head_seen_timestamp_seconds",
        "When the git host was last asked for the branch's head",
        lambda it: it.view.head_seen_at.timestamp() if it.view.head_seen_at else None,
    ),
)


def _gauge(name: str, text: str, apps: Iterable[AppSnapshot], value: Value) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["app"])
    for each in apps:
        number = value(each)
        if number is not None:
            family.add_metric([each.app], float(number))
    return family


def _deployments(apps: Iterable[AppSnapshot]) -> Iterator[Metric]:
    endings = CounterMetricFamily("hookd_deployments", "Deployments by their ending", labels=["app", "ending"])
    last = GaugeMetricFamily("hookd_last_ending", "1 for how the last deployment ended", labels=["app", "ending"])
    runs = SummaryMetricFamily("hookd_deployment_seconds", "How long deployments took from their start", labels=["app"])
    steps = SummaryMetricFamily("hookd_step_seconds", "How long their steps took", labels=["app", "step"])
    for each in apps:
        for ending, times in each.counts.endings.items():
            endings.add_metric([each.app, ending], times)
        if each.counts.ended is not None:
            last.add_metric([each.app, each.counts.ended], 1)
        runs.add_metric([each.app], each.counts.runs.count, each.counts.runs.seconds)
        for step, done in each.counts.steps.items():
            steps.add_metric([each.app, step], done.count, done.seconds)
    yield from (endings, last, runs, steps)


def _deliveries(apps: Iterable[AppSnapshot], nobody: Counters) -> Iterator[Metric]:
    signed = CounterMetricFamily("hookd_deliveries", "Signed deliveries by what was decided", labels=["app", "verdict"])
    refused = CounterMetricFamily("hookd_refused_signatures", "Missing or wrong signatures", labels=["app"])
    for each in apps:
        for verdict, times in each.counts.deliveries.items():
            signed.add_metric([each.app, verdict], times)
        refused.add_metric([each.app], each.counts.refused)
    refused.add_metric([NO_APP], nobody.refused)
    yield from (signed, refused)


def _lag(apps: Iterable[AppSnapshot]) -> Iterator[Metric]:
    labels = ["app", "reason"]
    commits = GaugeMetricFamily("hookd_lag_commits", "By how many commits the app is behind its head", labels=labels)
    since = GaugeMetricFamily(
        "hookd_lag_since_timestamp_seconds", "Since when the app does not serve its branch's head", labels=labels
    )
    for each in apps:
        if behind := each.view.lag:
            since.add_metric([each.app, behind.verdict], behind.since.timestamp())
            if behind.commits is not None:
                commits.add_metric([each.app, behind.verdict], behind.commits)
    yield from (commits, since)
