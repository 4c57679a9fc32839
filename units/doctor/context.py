"""What all checks look at: the configuration as far as it can be read, the apps, the units, and who is asking."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis import Redis

from hookd.config import Config, ConfigError, load
from hookd.credentials import cli_user
from hookd.model.app import App, Catalogue
from hookd.model.journal import AppState, decode, fold
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from hookd.queue.client import cli_client
from units.apps.plan import units_of
from units.doctor.finding import CannotCheck, Finding, error
from units.system import disk, layout
from units.system.run import CommandFailed
from units.system.systemd import Unit, read_units

# hookd shortens a journal after 500 events; the worker's user could make it as long as the disk.
_MAX_JOURNAL_BYTES: Final = 16 * 1024 * 1024
HOST_UNITS: Final = (
    f"{layout.REDIS}.service",
    "hookd.socket",
    "hookd.service",
    *(layout.worker_unit(instance) for instance in layout.INSTANCES),
    layout.RECONCILE_TIMER,
    "hookd-doctor.timer",
)


@dataclass(frozen=True)
class HostContext:
    """One host at one moment; `units` is the reason as text when systemd does not answer.

    Not `whole`: some app's file cannot be used, so that `apps` and the catalogue lack it.
    """

    path: Path
    given: Config | None
    apps: tuple[App, ...]
    units: Mapping[str, Unit] | str
    now: datetime
    is_root: bool
    whole: bool = True

    @property
    def config(self) -> Config:
        """The configuration; raises Unseen when hookd.toml cannot be used."""
        if self.given is None:
            raise CannotCheck(f"this needs {self.path}, which cannot be used", "mend it, then: sudo hookd doctor")
        return self.given

    @property
    def settings(self) -> Settings:
        """What hookd.toml says; raises Unseen when it cannot be used."""
        return self.config.settings

    def unit(self, name: str) -> Unit:
        """How a unit stands; raises Unseen when systemd does not answer."""
        if isinstance(self.units, str):
            raise CannotCheck(f"systemd does not say how {name} stands: {self.units}", "systemctl is-system-running")
        return self.units.get(name) or Unit(name)

    def redis(self) -> Redis:
        """A connection as the operator, or whoever may at least read; raises NotForYou and ConfigError."""
        return cli_client(self.settings.redis.url, cli_user(self.config, reads=True))

    def places(self, app: App) -> AppPaths:
        """Where an app's things live."""
        return AppPaths(root=app.root, settings=self.settings, app=app.name)

    def state(self, app: App) -> AppState:
        """What the app's journal says; an empty state when it was never deployed."""
        journal = self.places(app).journal
        found = disk.status(journal)  # Raises PermissionError, where reading would find nothing.
        if found is not None and found.st_size > _MAX_JOURNAL_BYTES:
            raise CannotCheck(f"{journal} is longer than any journal of hookd's", f"sudo ls -l {journal}")
        content = disk.read(journal) or b""
        return fold(decode(content.decode("utf-8", "replace").split("\n")))


def read_context(path: Path, only: str | None) -> tuple[HostContext, list[Finding]]:
    """Read what can be read, and say what is wrong with the rest; what is wrong with one app holds no other up."""
    config, problems = _read(path)
    apps = config.catalogue.apps if config else ()
    if only is not None:
        apps = tuple(app for app in apps if app.name == only)
    findings = [
        error(f"the configuration cannot be used as it stands: {text}", _repair_command(text)) for text in problems
    ]
    subject = HostContext(path, config, apps, _read_all_units(apps), datetime.now(UTC), os.geteuid() == 0, not problems)
    return subject, findings


def app_names(path: Path) -> list[str] | None:
    """The apps that have a file, whatever stands in it; None when hookd.toml, which says where, cannot be used."""
    try:
        settings = load(path, only="").settings
    except ConfigError:
        return None
    return _app_file_names(settings.apps or path.parent / "apps")


def _read(path: Path) -> tuple[Config | None, list[str]]:
    try:
        return load(path), []
    except ConfigError as found:
        problems = [str(problem) for problem in found.problems]
    try:
        alone = load(path, only="")
    except ConfigError:
        return None, problems
    directory = alone.settings.apps or path.parent / "apps"
    apps = tuple(app for name in _app_file_names(directory) for app in _one(path, name))
    return Config(path, alone.settings, Catalogue(apps=apps)), problems


def _app_file_names(directory: Path) -> list[str]:
    try:
        return sorted(file.stem for file in directory.iterdir() if file.suffix == ".toml")
    except OSError:
        return []


def _one(path: Path, name: str) -> tuple[App, ...]:
    try:
        return load(path, only=name).catalogue.apps
    except ConfigError:
        return ()


def _repair_command(problem: str) -> str:
    file = problem.split(": ", 1)[0]
    if file == str(layout.CONFIG) and not layout.CONFIG.exists() and layout.CURRENT.exists():
        return "sudo hookd setup --domain deploy.example.org (how your git host reaches this server)"
    return f"sudoedit {file} && sudo systemctl restart hookd.service"


def _read_all_units(apps: tuple[App, ...]) -> Mapping[str, Unit] | str:
    try:
        of_apps = (name for app in apps for name in units_of(app))
        return read_units([*HOST_UNITS, layout.RECONCILE, "nginx.service", *of_apps])
    except CommandFailed as failed:
        return failed.output or str(failed)
