"""What every step is given: the app, where its things live on disk, and how to run a program for it."""

import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

from dotenv import dotenv_values
from rq.timeouts import JobTimeoutException

from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.deployment import Deployment
from hookd.model.journal import JournalEvent
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from worker.errors import DeployError
from worker.journal import Journal
from worker.process.run import Command, run
from worker.report.recorder import Recorder

# Host settings that package tools need to reach their index: certificates, proxies, the index itself.
_HOST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
_HOST_PREFIXES: Final = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_OFFLINE", "PIP_")
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Task:
    """One deployment under way."""

    app: App
    settings: Settings
    places: AppPaths
    journal: Journal
    recorder: Recorder
    app_environment: Mapping[str, str] = field(repr=False)

    @property
    def deployment(self) -> Deployment:
        """The record as far as it is known."""
        return self.recorder.deployment

    def run(self, command: Command, is_unexpected: Callable[[str], bool] = bool) -> None:
        """Run a program; what it prints goes to the log, as far as it is news. Raises CommandFailed."""
        self.recorder.line(f"$ {' '.join(command.argv)}")
        run(command, lambda line: self.recorder.line(line) if is_unexpected(line) else None)

    def cancel_timeout(self) -> None:
        """Switch off RQ's alarm, for what must not be broken off: every step of it has limits of its own."""
        signal.alarm(0)

    def say(self, error: Exception) -> str:
        """Put what went wrong into one sentence that may be stored and shown."""
        if isinstance(error, JobTimeoutException):
            return f"the deployment took longer than {self.app.limits.deploy_seconds} s"
        return self.recorder.clean(str(error))

    def try_journal(self, *events: JournalEvent) -> None:
        """Write to the journal if that is possible: going back to what served does not wait for room on a disk."""
        try:
            self.journal.add(*events)
        except OSError as error:
            self.recorder.line(f"warning: the journal cannot be written: {error}")

    def stamp(self) -> dict[str, Any]:
        """What every journal entry of this deployment carries."""
        return {"at": datetime.now(UTC), "deployment": self.deployment.id}

    def environment(self, release: Path) -> dict[str, str]:
        """The variables for the app's own commands: its venv first on the PATH, then what its config adds."""
        return {
            "PATH": f"{release / 'venv' / 'bin'}:{SYSTEM_PATH}",
            "HOME": str(self.places.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOOKD_APP": self.app.name,
            "HOOKD_RELEASE": release.name,
            "HOOKD_COMMIT": self.deployment.commit or "",
            **self.app.build.environment,
            **self.app_environment,
        }

    def install_environment(self) -> dict[str, str]:
        """The variables for uv and pip: a cache of the app's own, nobody's configuration, copies instead of links."""
        return {
            "PATH": SYSTEM_PATH,
            "HOME": str(self.places.home),
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": str(self.places.cache / "uv"),
            "PIP_CACHE_DIR": str(self.places.cache / "pip"),
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON_PREFERENCE": "only-system",
            "UV_LINK_MODE": "copy",  # A hard link into the cache lets one venv change every other.
            "UV_COMPILE_BYTECODE": "1",  # The app cannot write to its venv, and the first import is three times faster.
            "UV_NO_PROGRESS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **host_variables(),
            **self.app.dependencies.environment,
        }


def host_variables() -> dict[str, str]:
    """The worker's own variables that package tools are given."""
    return {k: v for k, v in os.environ.items() if k in _HOST_VARIABLES or k.startswith(_HOST_PREFIXES)}


_ENV_FILE: Final = re.compile(r"(?:^|/)\.env[^/]*$|\.env$")


def app_environment(app: App) -> dict[str, str]:
    """Read the app's own variables; raises DeployError when their file cannot be read."""
    file = app.build.environment_file
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            return _parse_variables(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"the app's variables in {file} cannot be read: {error}") from None


def shared_variables(app: App) -> list[dict[str, str]]:
    """Read what stands in shared files such as `.env`, as far as that can be: known so that no log tells it."""
    return [_read_variables(app.shared_root / path) for path in app.shared.files if _ENV_FILE.search(path)]


def _read_variables(file: Path) -> dict[str, str]:
    try:
        with TextIOWrapper(open_regular_file(file), encoding="utf-8", errors="replace") as stream:
            return _parse_variables(stream)
    except OSError:
        return {}


def _parse_variables(stream: TextIO) -> dict[str, str]:
    found = dotenv_values(stream=stream, interpolate=False)
    return {name: value for name, value in found.items() if value is not None}
