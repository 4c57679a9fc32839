"""Input of all checks: the configuration, the apps, the unit states, the time and the user's rights."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError

from hookd.commands import edit_command, start_command
from hookd.config import Config, ConfigError, Problem, load_valid_apps
from hookd.credentials import cli_user
from hookd.model.app import App
from hookd.model.journal import AppState, decode, fold
from hookd.model.settings import Settings
from hookd.model.units.processes import all_processes, timed_units, timer_units
from hookd.queue.client import cli_client, is_denied, no_answer
from units.apps.changes import units_of
from units.doctor.finding import CannotCheck, Finding, error
from units.system import disk, layout
from units.system.run import CommandFailed
from units.system.systemd import ABSENT, Unit, is_booted, read_units

AS_ROOT: Final = "sudo hookd doctor"


@dataclass(frozen=True)
class HostContext:
    """State of the host at one moment.

    `units` is an error text if systemd did not answer. `is_complete` is False if the file of an app is invalid: `apps`
    and the catalogue lack that app.
    """

    path: Path
    loaded: Config | None
    apps: tuple[App, ...]
    units: Mapping[str, Unit] | str
    now: datetime
    is_root: bool
    is_complete: bool = True

    @property
    def config(self) -> Config:
        """The configuration. Raises CannotCheck if hookd.toml is invalid."""
        if self.loaded is None:
            raise CannotCheck(f"this check needs a valid {self.path}", f"sudoedit {self.path} && {AS_ROOT}")
        return self.loaded

    @property
    def is_server(self) -> bool:
        """Return False on a machine without root's setup, which has another configuration without Redis' passwords."""
        return self.path == layout.CONFIG or (self.loaded is not None and self.loaded.is_server)

    @property
    def settings(self) -> Settings:
        """The settings. Raises CannotCheck if hookd.toml is invalid."""
        return self.config.settings

    def require_root(self, action: str) -> None:
        """Raise CannotCheck unless root runs the doctor."""
        if not self.is_root:
            raise CannotCheck(f"only root can {action}", AS_ROOT)

    def unit(self, name: str) -> Unit:
        """Return the state of a unit. Raises CannotCheck if systemd did not answer."""
        if isinstance(self.units, str):
            raise CannotCheck(self.units, "systemctl is-system-running")
        return self.units.get(name) or Unit(name)

    @contextmanager
    def redis(self) -> Iterator[Redis]:
        """Connect as the operator or a read-only user.

        Raises CannotCheck if Redis does not answer, PasswordUnreadable and ConfigError.
        """
        try:
            with closing(cli_client(self.settings.redis.url, cli_user(self.config, reads=True))) as connection:
                yield connection
        except (ConnectionError, TimeoutError) as failure:
            if is_denied(failure):
                raise CannotCheck("you may not use Redis", AS_ROOT) from None
            raise CannotCheck(no_answer(self.settings.redis.url), start_command("redis", self.config)) from None

    def app_state(self, app: App) -> AppState:
        """Read the state from the app's journal. An app without a journal has an empty state."""
        return fold(decode(self.journal_lines(app)))

    def journal_lines(self, app: App) -> list[str]:
        """Read the lines of the app's journal, or none without one."""
        journal = self.settings.journal_path(app.name)
        disk.status(journal)  # Raises PermissionError, for which `disk.read` returns None.
        content = disk.read(journal) or b""
        return content.decode("utf-8", "replace").split("\n")


def read_context(path: Path, only: str | None) -> tuple[HostContext, list[Finding]]:
    """Read the configuration and the unit states. Return them with a finding for each configuration error."""
    config: Config | None = None
    try:
        config, problems = load_valid_apps(path)
    except ConfigError as invalid:
        problems = invalid.problems
    apps = config.catalogue.apps if config else ()
    if only is not None:
        apps = tuple(app for app in apps if app.name == only)
    findings = [error(f"invalid configuration: {problem}", _repair_command(problem, path)) for problem in problems]
    context = HostContext(path, config, apps, _read_all_units(apps), datetime.now(UTC), os.geteuid() == 0, not problems)
    return context, findings


def _repair_command(problem: Problem, path: Path) -> str:
    if problem.denied and os.geteuid() != 0:
        return AS_ROOT
    if path != layout.CONFIG:
        return edit_command(problem.file)
    return f"sudoedit {problem.file} && sudo systemctl restart hookd.service"


def _read_all_units(apps: tuple[App, ...]) -> Mapping[str, Unit] | str:
    app_units = (
        name for app in apps for name in (*units_of(app), *all_processes(app), *timer_units(app), *timed_units(app))
    )
    try:
        return read_units([*layout.UNITS, layout.RECONCILE, "nginx.service", *app_units])
    except CommandFailed as failed:
        return f"systemd does not answer: {failed.output or failed}" if is_booted() else ABSENT
