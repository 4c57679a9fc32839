"""The values that the steps of a deployment share, and the variables of the programs that they run."""

import os
import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

from dotenv import dotenv_values
from rq.timeouts import JobTimeoutException

from hookd.config import ConfigError, config_path, load
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.deployment import Deployment
from hookd.model.journal import JournalEvent
from hookd.model.settings import AppPaths, Settings
from worker.errors import DeployError
from worker.journal import Journal
from worker.process.run import SYSTEM_PATH, Command, run
from worker.report.log import Recorder, StepLog

# Variables of the host that package tools need: certificates, proxies and the package index.
_HOST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
_HOST_PREFIXES: Final = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_OFFLINE")
_ENV_FILE: Final = re.compile(r"(?:^|/)\.env[^/]*$|\.env$")


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

    @staticmethod
    def cancel_timeout() -> None:
        """Cancel RQ's timeout for steps that must not be aborted. Each of them has its own limits."""
        signal.alarm(0)

    def cause_of(self, error: Exception) -> str:
        """Return the cause of an error in one redacted sentence."""
        if isinstance(error, JobTimeoutException):
            return f"the deployment took longer than {self.app.limits.deploy_seconds} s"
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
    """One deployment in progress, with its record. `freeze_directory` has one file for each frozen app."""

    recorder: Recorder
    app_environment: Mapping[str, str] = field(repr=False)
    freeze_directory: Path

    @property
    def deployment(self) -> Deployment:
        """Return the record with everything that is known so far."""
        return self.recorder.deployment

    def environment(self, release: Path) -> dict[str, str]:
        """Return the variables of the app's own commands."""
        return {
            "PATH": f"{release / 'venv' / 'bin'}:{SYSTEM_PATH}",
            "HOME": str(self.paths.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOOKD_APP": self.app.name,
            "HOOKD_RELEASE": release.name,
            "HOOKD_COMMIT": self.deployment.commit or "",
            **self.app.build.environment,
            **self.app_environment,
        }

    def install_environment(self) -> dict[str, str]:
        """Return the variables of uv: a cache of the app's own and no configuration file."""
        return {
            "PATH": SYSTEM_PATH,
            "HOME": str(self.paths.home),
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": str(self.paths.cache / "uv"),
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON_PREFERENCE": "only-system",
            "UV_LINK_MODE": "copy",  # With hard links into the cache, one venv could change all others.
            "UV_COMPILE_BYTECODE": "1",  # The app cannot write to its venv. The first import is three times faster.
            "UV_NO_PROGRESS": "1",
            **host_variables(),
            **self.app.dependencies.environment,
        }


def load_app(name: str) -> tuple[App, Settings]:
    """Read one app and the settings. Raises DeployError if the configuration cannot be used or has no such app."""
    try:
        config = load(config_path(), only=name)
    except ConfigError as error:
        raise DeployError(f"the configuration cannot be used: {error.problems[0]}") from None
    app = config.catalogue.get(name)
    if app is None:
        raise DeployError(f"there is no app {name!r} in the catalogue")
    return app, config.settings


def host_variables() -> dict[str, str]:
    """Return the worker's own variables that package tools need."""
    return {k: v for k, v in os.environ.items() if k in _HOST_VARIABLES or k.startswith(_HOST_PREFIXES)}


def app_environment(app: App) -> dict[str, str]:
    """Read the variables of the app's commands. Raises DeployError if their file cannot be read."""
    file = app.build.environment_file
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            return _parse_variables(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"the app's variables in {file} cannot be read: {error}") from None


def shared_variables(app: App) -> list[dict[str, str]]:
    """Read shared files such as `.env`, so that the log can redact their values. Skips unreadable files."""
    found = []
    for path in filter(_ENV_FILE.search, app.shared.files):
        with suppress(OSError):
            file = open_regular_file(app.shared_root / path)
            with TextIOWrapper(file, encoding="utf-8", errors="replace") as stream:
                found.append(_parse_variables(stream))
    return found


def _parse_variables(stream: TextIO) -> dict[str, str]:
    found = dotenv_values(stream=stream, interpolate=False)
    return {name: value for name, value in found.items() if value is not None}
