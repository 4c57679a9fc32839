"""The /metrics route: numbers for Prometheus, read from Redis for each scrape, so all processes answer alike.

Label values are apps of the catalogue or fixed words, so a sender cannot create series. See docs/metrics.md.
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
from hookd.model.ids import requested_at
from hookd.queue.counters import NO_APP, Counters, read_counters
from hookd.queue.deployments import DeploymentStore
from hookd.queue.published import AppStatus, read_statuses


@dataclass(frozen=True)
class AppSnapshot:
    """One app at the time of a scrape. `queued_seconds` is the age of its waiting deployment."""

    app: str
    counters: Counters
    status: AppStatus
    queued_seconds: float | None
    is_frozen: bool


class AppMetrics(Collector):
    """Builds the metrics for each scrape. Raises redis.exceptions.RedisError."""

    def __init__(self, config: Config, store: DeploymentStore) -> None:
        self._config = config
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Read all apps in three Redis calls and yield the metrics."""
        names = [app.name for app in self._config.catalogue.apps]
        now = datetime.now(UTC)
        *counters, unknown = read_counters(self._store.connection, [*names, NO_APP])
        statuses = read_statuses(self._store.connection, names)
        rows = zip(names, counters, statuses, self._store.waiting_ids(names), strict=True)
        apps = [
            AppSnapshot(
                app=name,
                counters=counted,
                status=status,
                queued_seconds=_seconds_since(requested_at(waiting or ""), now),
                is_frozen=freezes.active_freeze(self._config.freeze_directory, name, now) is not None,
            )
            for name, counted, status, waiting in rows
        ]
        yield from _deployments(apps)
        yield from _deliveries(apps, unknown)
        yield from _gauges(apps)
        yield from _lag(apps)


def metrics_page(config: Config, store: DeploymentStore, request: Request) -> Response:
    """Answer a scrape in the format that Prometheus accepts."""
    registry = CollectorRegistry()
    registry.register(AppMetrics(config, store))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type)


def _seconds_since(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())


Value = Callable[[AppSnapshot], float | None]
# One series per app. An unknown value is left out.
GAUGES: Final[tuple[tuple[str, str, Value], ...]] = (
    ("hookd_waiting", "Whether a deployment waits", lambda it: it.queued_seconds is not None),
    ("hookd_queue_age_seconds", "Age of the waiting deployment, 0 without one", lambda it: it.queued_seconds or 0),
    ("hookd_frozen", "Whether the app is frozen", lambda it: it.is_frozen),
    ("hookd_app_healthy", "Whether the last health check passed", lambda it: it.status.healthy),
    ("hookd_last_delivery_timestamp_seconds", "The last signed delivery", lambda it: it.counters.delivered_at),
    ("hookd_last_success_timestamp_seconds", "The last successful deployment", lambda it: it.counters.succeeded_at),
    (
        "hookd_head_seen_timestamp_seconds",
        "The last time the git host returned the branch's head",
        lambda it: it.status.head_seen_at.timestamp() if it.status.head_seen_at else None,
    ),
)


def _gauges(apps: Iterable[AppSnapshot]) -> Iterator[Metric]:
    for name, text, value in GAUGES:
        family = GaugeMetricFamily(name, text, labels=["app"])
        for each in apps:
            if (number := value(each)) is not None:
                family.add_metric([each.app], float(number))
        yield family


def _deployments(apps: Iterable[AppSnapshot]) -> Iterator[Metric]:
    endings = CounterMetricFamily("hookd_deployments", "Deployments by ending", labels=["app", "ending"])
    last = GaugeMetricFamily("hookd_last_ending", "1 for the last deployment's ending", labels=["app", "ending"])
    runs = SummaryMetricFamily("hookd_deployment_seconds", "Duration of deployments", labels=["app"])
    steps = SummaryMetricFamily("hookd_step_seconds", "Duration of their steps", labels=["app", "step"])
    for each in apps:
        for ending, count in each.counters.endings.items():
            endings.add_metric([each.app, ending], count)
        if each.counters.ended is not None:
            last.add_metric([each.app, each.counters.ended], 1)
        runs.add_metric([each.app], each.counters.runs.count, each.counters.runs.seconds)
        for step, total in each.counters.steps.items():
            steps.add_metric([each.app, step], total.count, total.seconds)
    yield from (endings, last, runs, steps)


def _deliveries(apps: Iterable[AppSnapshot], unknown: Counters) -> Iterator[Metric]:
    signed = CounterMetricFamily("hookd_deliveries", "Signed deliveries by verdict", labels=["app", "verdict"])
    refused = CounterMetricFamily("hookd_refused_signatures", "Missing or wrong signatures", labels=["app"])
    for each in apps:
        for verdict, count in each.counters.deliveries.items():
            signed.add_metric([each.app, verdict], count)
        refused.add_metric([each.app], each.counters.refused)
    refused.add_metric([NO_APP], unknown.refused)
    yield from (signed, refused)


def _lag(apps: Iterable[AppSnapshot]) -> Iterator[Metric]:
    labels = ["app", "reason"]
    commits = GaugeMetricFamily("hookd_lag_commits", "Commits between the release and the head", labels=labels)
    since = GaugeMetricFamily("hookd_lag_since_timestamp_seconds", "Start of the lag", labels=labels)
    for each in apps:
        if lag := each.status.lag:
            since.add_metric([each.app, lag.verdict], lag.since.timestamp())
            if lag.commits is not None:
                commits.add_metric([each.app, lag.verdict], lag.commits)
    yield from (commits, since)
