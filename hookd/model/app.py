"""apps/<app>.toml: the configuration of one app. No value comes from a push."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from hookd.model.git_hosts import GitHost
from hookd.model.ids import AppName
from hookd.model.tables.build import Build, Dependencies, ReleasePhase
from hookd.model.tables.fields import AbsolutePath, BranchName, Repository, Section, overlaps
from hookd.model.tables.files import Ownership, Shared
from hookd.model.tables.health import Health
from hookd.model.tables.limits import Limits
from hookd.model.tables.processes import Process, ProcessName, Timer, expected_processes, stop_seconds
from hookd.model.tables.repository import Checkout, Paths, Reconcile
from hookd.model.tables.service import COLOURS, Colour, Service
from hookd.model.tables.site import Site


class App(Section):
    """One app of the catalogue."""

    name: AppName
    repository: Repository = Field(..., description="Where the worker fetches from.")
    full_name: str = Field(
        ...,
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$",
        max_length=255,
        description="`owner/name`, as the sender calls the repository.",
    )
    branch: BranchName = Field("main", description="The branch that is deployed.")
    sender: GitHost = Field(GitHost.GITHUB, description="The git host that sends the pushes.")
    root: AbsolutePath = Field(..., description="The app's directory: releases, venvs, shared, current.")
    deploy_key: AbsolutePath | None = Field(None, description="The read-only ssh key for this repository.")
    checkout: Checkout = Checkout()
    dependencies: Dependencies = Dependencies()
    build: Build = Build()
    release: ReleasePhase = ReleasePhase()
    shared: Shared = Shared()
    ownership: Ownership = Ownership()
    service: Service = Service()
    processes: dict[ProcessName, Process] = Field({}, description="Processes beside the web process, by name.")
    timers: dict[ProcessName, Timer] = Field({}, description="Commands at set times, by name.")
    health: Health
    site: Site = Site()
    paths: Paths = Paths()
    reconcile: Reconcile = Reconcile()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _check_colours(self) -> Self:
        if (self.service.handover == "blue-green") != ("{colour}" in self.health.url):
            raise ValueError("health.url with {colour} when service.handover is blue-green, without it otherwise")
        return self

    @model_validator(mode="after")
    def _check_processes(self) -> Self:
        if expected := expected_processes(self):
            raise ValueError(expected)
        return self

    @model_validator(mode="after")
    def _check_static(self) -> Self:
        for directory in self.site.static.values():
            for shared in (*self.shared.files, *self.shared.directories):
                if overlaps(directory, shared):
                    raise ValueError(f"site.static with a directory of the repository, because {shared} is shared")
        return self

    @property
    def ref(self) -> str:
        """The full name of the branch, as a push event carries it."""
        return f"refs/heads/{self.branch}"

    @property
    def service_name(self) -> str:
        """The unit or watcher of the app."""
        return self.service.name or self.name

    def service_of(self, colour: str | None) -> str:
        """Return the unit or watcher of a colour, or the only one."""
        return f"{self.service_name}-{colour}" if colour else self.service_name

    @property
    def services(self) -> frozenset[str]:
        """All units or watchers of the app."""
        return frozenset(map(self.service_of, self.colours or (None,)))

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The colours of the app's services, or () with one service."""
        return COLOURS if self.service.handover == "blue-green" else ()

    def directory_in(self, release: Path) -> Path:
        """Return the app's directory in a release, in which its dependencies are listed and its commands run."""
        return release / self.service.directory if self.service.directory else release

    @property
    def uses_systemd(self) -> bool:
        """Return True if systemd runs the app, and not circus."""
        return self.service.manager == "systemd"

    @property
    def runs_gunicorn(self) -> bool:
        """Return True if gunicorn starts the app by hookd's rules, and not by those of a unit of yours."""
        return self.service.command is None and (not self.uses_systemd or self.service.units == "hookd")

    @property
    def job_seconds(self) -> int:
        """The longest run of a deployment with its backup, its release commands and the end of old processes."""
        parts = bool(self.release.commands) + bool(self.release.backup)
        return self.limits.deploy_seconds + parts * self.release.seconds + stop_seconds(self)

    @property
    def variable_files(self) -> tuple[Path, ...]:
        """The files with the app's own variables."""
        files = (self.build.environment_file, self.service.environment_file)
        return tuple(dict.fromkeys(file for file in files if file is not None))

    @property
    def shared_root(self) -> Path:
        """The directory of shared files."""
        return self.shared.root or self.root / "shared"

    @property
    def data_root(self) -> Path:
        """The parent of shared directories."""
        return self.shared.data or self.shared_root
