"""The values that the steps of a deployment share, and the variables of the programs that they run."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rq.timeouts import JobTimeoutException

from hookd.config import Config, ConfigError, config_path, load
from hookd.model.app import App
from hookd.model.deployment import Deployment
from hookd.model.hint import AnyHint, Hint
from hookd.model.journal import JournalEvent
from hookd.model.settings import AppPaths, Settings
from worker.errors import DeployError
from worker.journal import Journal
from worker.process.run import Command, run
from worker.report.cause import without_root
from worker.report.log import Recorder, StepLog


@dataclass(frozen=True, kw_only=True)
class AppTask:
    """Work on an app's release and services, under its lock.

    The fields never change. `journal` and `recorder` refer to state that does change: the app's journal, and the log.
    """

    app: App
    settings: Settings
    recorder: StepLog

    @cached_property
    def paths(self) -> AppPaths:
        """Return the app's paths."""
        return AppPaths(self.app, self.settings)

    @cached_property
    def journal(self) -> Journal:
        """Return the app's journal."""
        return Journal(self.paths.journal)

    def run(self, command: Command, is_logged: Callable[[str], bool] = bool) -> None:
        """Run a program and write its output to the log. Raises CommandFailed."""
        self.recorder.line(f"$ {' '.join(command.argv)}")
        run(command, lambda line: self.recorder.line(line) if is_logged(line) else None)

    def own_hint(self, hint: AnyHint | None) -> AnyHint | None:
        """Return a hint that works on this machine, which may have no root's commands."""
        if self.app.uses_systemd or not isinstance(hint, Hint):
            return hint
        apps = self.settings.apps or config_path().parent / "apps"
        return without_root(hint, self.app, apps / f"{self.app.name}.toml")

    @staticmethod
    def cancel_timeout() -> None:
        """Cancel RQ's timeout for steps that must not be aborted. Each of them has its own limits."""
        signal.alarm(0)

    def cause_of(self, error: Exception) -> str:
        """Return the cause of an error in one redacted sentence."""
        if isinstance(error, JobTimeoutException):
            return f"the deployment took longer than {self.app.job_seconds} s"
        return self.recorder.clean(str(error))

    def try_journal(self, *events: JournalEvent) -> None:
        """Write to the journal if possible: a rollback does not wait for disk space."""
        try:
            self.journal.add(*events)
        except OSError as error:
            self.recorder.line(f"warning: the journal cannot be written: {error}")

    def stamp(self) -> dict[str, Any]:
        """Return the fields that every journal event of this deployment has."""
        return {"at": datetime.now(UTC), "deployment": self.recorder.deployment_id}


@dataclass(frozen=True, kw_only=True)
class Task(AppTask):
    """One deployment in progress, with its record. `freeze_directory` has one file for each frozen app.

    `build_variables` and `service_variables` are the app's own, for its build and for its service. `configured_at` is
    the time of the app's configuration.
    """

    recorder: Recorder
    build_variables: Mapping[str, str] = field(repr=False)
    service_variables: Mapping[str, str] = field(repr=False)
    freeze_directory: Path
    configured_at: datetime | None = None

    @property
    def deployment(self) -> Deployment:
        """Return the record with everything that is known so far."""
        return self.recorder.deployment


def load_app(name: str) -> tuple[App, Config]:
    """Read one app and the configuration. Raises DeployError for an invalid configuration and for an unknown app."""
    try:
        config = load(config_path(), only=name)
    except ConfigError as error:
        raise DeployError(error.cause) from None
    app = config.catalogue.get(name)
    if app is None:
        raise DeployError(f"there is no app {name!r} in the catalogue")
    return app, config
