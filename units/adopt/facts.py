"""Facts about a project before its adoption, as values."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from units.adopt.discovery.checkout import Checkout
from units.adopt.discovery.gunicorn_options import GunicornOptions
from units.adopt.discovery.listeners import Listener
from units.adopt.discovery.nginx_sites import NginxSite
from units.adopt.discovery.service import OldService
from units.adopt.discovery.untracked import PathChoices, UntrackedPath


@dataclass(frozen=True)
class AdoptOptions:
    """Options of the command. hookd chooses a value for None."""

    root: Path
    name: str | None = None
    unit: str | None = None
    repository: str | None = None
    branch: str | None = None
    full_name: str | None = None
    sender: str | None = None
    health: str | None = None
    entry: str | None = None
    policy: str | None = None
    choices: PathChoices = field(default_factory=PathChoices)
    leave_changes: bool = False
    accept_pause: bool = False

    @property
    def app(self) -> str:
        """The app's name."""
        return self.name or self.root.name


@dataclass(frozen=True)
class ServiceUser:
    """The user of the project's unit, with the ids of all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_write(self, found: os.stat_result) -> bool:
        """Return True if the mode bits allow this user to write."""
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o200)
        return bool(found.st_mode & (0o020 if found.st_gid in self.groups else 0o002))


@dataclass(frozen=True)
class HealthPage:
    """A page that answered 200, and its host."""

    path: str
    host: str


@dataclass(frozen=True)
class ProjectFacts:
    """A project as discovered: its checkout, unit, gunicorn, nginx sites and untracked files.

    `mentions` are files of cron and logrotate with the project's path. `root` is the status of its directory.
    """

    options: AdoptOptions
    checkout: Checkout
    service: OldService
    others: tuple[str, ...]
    mentions: tuple[Path, ...]
    user: ServiceUser
    gunicorn: GunicornOptions | None
    gunicorn_error: str
    listeners: tuple[Listener, ...]
    environment_files: Mapping[Path, str]
    variables: Mapping[str, str]
    sites: tuple[NginxSite, ...]
    untracked: tuple[UntrackedPath, ...]
    page: HealthPage | None
    is_reachable: bool
    root: os.stat_result
    python: Path | None
    unit_texts: Mapping[Path, tuple[str, int]]

    @property
    def unreadable_files(self) -> tuple[Path, ...]:
        """The unit's files that are patterns, links or closed."""
        wanted = (*self.service.files, self.service.fragment, *self.service.drop_ins)
        patterns = [path for path in wanted if re.search(r"[*?\[]", str(path))]
        known = {*self.environment_files, *self.unit_texts}
        return (*patterns, *(path for path in wanted if os.path.lexists(path) and path not in known))
