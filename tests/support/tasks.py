"""A deployment's task without queue and pipeline: an app in a directory, its log, and nobody who reads its record."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookd.model.app import App
from hookd.model.deployment import Deployment, Trigger
from hookd.model.ids import new_deployment_id
from hookd.model.settings import AppPaths, Settings
from hookd.queue.client import receiver_client
from hookd.queue.deployments import DeploymentStore
from tests.support.toml_tables import merged
from worker.context import Task
from worker.report.log import LogFile, Recorder, Redaction
from worker.variables import build_variables, service_variables


def make_app(directory: Path, **over: Any) -> App:
    """Build an app called shop below a directory. `over` overrides its table."""
    base: Mapping[str, Any] = {
        "name": "shop",
        "repository": f"file://{directory}/remote.git",
        "full_name": "acme/shop",
        "root": directory / "srv",
        "ownership": {"policy": "split"},
        # The phases run as the tests' own user.
        "service": {"manager": "circus", "endpoint": "ipc:///nowhere"},
        "health": {"url": "http://127.0.0.1:9/"},
    }
    return App.model_validate(merged(base, over))


def make_settings(directory: Path, **worker: Any) -> Settings:
    """Build settings that let git read from the local disk."""
    return Settings.model_validate(
        {"state": directory / "state", "worker": {"git_protocols": ("https", "ssh", "http", "file"), **worker}}
    )


@dataclass(frozen=True)
class Deploying:
    """A task and the log it writes."""

    task: Task
    log: Path

    @property
    def text(self) -> str:
        """Return the text of the log."""
        return self.log.read_text()


@contextmanager
def deploying(
    directory: Path, app: App | None = None, settings: Settings | None = None, trigger: Trigger = Trigger.MANUAL
) -> Iterator[Deploying]:
    """Open a task as the worker does, with a Redis that is away, and make the app's directories."""
    app = app or make_app(directory)
    settings = settings or make_settings(directory)
    paths = AppPaths(app, settings)
    for needed in (paths.releases, paths.venvs, paths.cache, paths.home):
        needed.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    record = Deployment(
        id=new_deployment_id(app.name, now), app=app.name, trigger=trigger, created_at=now, started_at=now
    )
    log = settings.log_path(app.name, record.id)
    records = DeploymentStore(receiver_client(f"unix://{directory}/no-redis.sock"), keep_seconds=60)
    with LogFile(log, Redaction({})) as logfile:
        task = Task(
            app=app,
            settings=settings,
            recorder=Recorder(record, records, logfile),
            build_variables=build_variables(app),
            service_variables=service_variables(app),
            freeze_directory=directory / "frozen",
        )
        yield Deploying(task, log)
