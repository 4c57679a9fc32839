"""What is known of a project before it is taken over, as values."""

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
    """What the person said; None leaves a choice to hookd."""

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
    wishes: PathChoices = field(default_factory=PathChoices)
    leave_changes: bool = False
    accept_pause: bool = False

    @property
    def app(self) -> str:
        """What the app is to be called."""
        return self.name or self.root.name


@dataclass(frozen=True)
class ServiceUser:
    """The user that the app runs as, with the numbers of all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_write(self, found: os.stat_result) -> bool:
        """Tell whether it may write to what was looked at."""
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o200)
        return bool(found.st_mode & (0o020 if found.st_gid in self.groups else 0o002))


@dataclass(frozen=True)
class HealthPage:
    """The health page that answered, and for which host."""

    path: str
    host: str


@dataclass(frozen=True)
class ProjectFacts:
    """A project as it was found."""

    options: AdoptOptions
    checkout: Checkout
    service: OldService
    others: tuple[str, ...]
    mentions: tuple[Path, ...]
    person: ServiceUser
    gunicorn: GunicornOptions | None
    why_no_gunicorn: str
    olds: tuple[Listener, ...]
    texts: Mapping[Path, str]
    variables: Mapping[str, str]
    sites: tuple[NginxSite, ...]
    loose: tuple[UntrackedPath, ...]
    page: HealthPage | None
    reachable: bool
    root: os.stat_result
    python: Path | None
    unit_texts: Mapping[Path, tuple[str, int]]

    @property
    def unread(self) -> tuple[Path, ...]:
        """Files of the unit's that are there and could not be read: links, or patterns."""
        wanted = (*self.service.files, self.service.fragment, *self.service.drop_ins)
        patterns = [path for path in wanted if re.search(r"[*?\[]", str(path))]
        known = {*self.texts, *self.unit_texts}
        return (*patterns, *(path for path in wanted if os.path.lexists(path) and path not in known))
