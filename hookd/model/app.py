"""apps/<app>.toml: the configuration of one app. No value comes from a push."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from hookd.model.fields import (
    AbsolutePath,
    Account,
    Argument,
    Argv,
    BranchName,
    Domain,
    HealthUrl,
    InsidePath,
    Listen,
    Pattern,
    Repository,
    Section,
)
from hookd.model.git_hosts import GitHost
from hookd.model.ids import AppName


class Dependencies(Section):
    """The app's virtual environment."""

    file: InsidePath | None = Field(
        None, description="The list of packages. Default: the first of uv.lock, requirements.txt, pyproject.toml."
    )
    python: AbsolutePath | None = Field(
        None, description="Python of the virtual environment. Default: the worker's setting."
    )
    allow_build: bool = Field(
        False, description="Let packages without a wheel run their build code as the worker's user."
    )
    environment: dict[str, str] = Field({}, description="More variables for uv, such as UV_INDEX_URL.")


class Build(Section):
    """The app's own commands as argument vectors. They run in the release with its venv first on the PATH."""

    commands: tuple[Argv, ...] = Field((), description="Build commands after the dependencies, such as assets.")
    release_commands: tuple[Argv, ...] = Field((), description="Last commands before the switch, such as migrations.")
    environment: dict[str, str] = Field({}, description="More variables for these commands and the preflight.")
    environment_file: AbsolutePath | None = Field(
        None, description="The app's own variables (KEY=value lines), given to these commands and the preflight."
    )


class Shared(Section):
    """Files and directories that outlive releases. Each release links to them."""

    root: AbsolutePath | None = Field(None, description="Their directory. Default: `shared` below the app's root.")
    data: AbsolutePath | None = Field(None, description="The parent of the directories. Default: the same as `root`.")
    files: tuple[InsidePath, ...] = Field(
        (), description="Files, such as `.env`. A deployment fails without one of them."
    )
    directories: tuple[InsidePath, ...] = Field((), description="Directories, such as `uploads`, created if missing.")

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        paths = sorted(f"{path}/" for path in (*self.files, *self.directories))
        for first, second in pairwise(paths):
            if second.startswith(first):
                raise ValueError(
                    f"link points that do not contain each other: {first.rstrip('/')}, {second.rstrip('/')}"
                )
        return self


class Ownership(Section):
    """The readers of a release."""

    policy: Literal["group", "split", "acl"] = Field(
        "group",
        description="Owners and modes of releases, as in docs/server.md.",
    )
    group: Account = Field("www-data", description="The group of policy `group`.")
    user: Account = Field("www-data", description="The app's user, who reads releases under policy `acl`.")


class Service(Section):
    """The app's service and its handover."""

    manager: Literal["systemd", "circus"] = Field("systemd", description="The process manager of the app.")
    name: str = Field(
        "", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$|^$", description="Unit or watcher. Default: the app's name."
    )
    endpoint: str | None = Field(None, pattern=r"^ipc:///[^\s]+$", description="circus only: its command socket.")
    handover: Literal["restart", "blue-green"] = Field(
        "restart",
        description="`restart`: one service. `blue-green`: `<name>-blue` and `<name>-green` by turns, without a pause.",
    )
    units: Literal["existing", "hookd"] = Field(
        "existing", description="Origin of the systemd units: your own, or rendered by `hookd app` from this file."
    )
    listen: Listen | None = Field(
        None,
        description="The socket of hookd's units: `HOST:PORT` or `unix:/path`. Default: /run/hookd-apps/<app>.sock.",
    )
    own_socket: bool = Field(False, description="An existing unit has a socket unit of the same name.")
    workers: int = Field(2, ge=1, le=64, description="gunicorn's processes in hookd's units.")
    threads: int = Field(4, ge=1, le=256, description="Concurrent requests of one gunicorn process.")
    environment_file: AbsolutePath | None = Field(
        None, description="The service's variables (KEY=value lines) in hookd's units. systemd reads the file as root."
    )
    entry: str = Field(
        "wsgi:app",
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*(\(\))?)?$",
        description="The WSGI callable.",
    )
    preflight: tuple[Argument, ...] | None = Field(
        None,
        description="The check of a release before the switch. Default: gunicorn --check-config ENTRY. [] for none.",
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if (self.manager == "circus") != (self.endpoint is not None):
            raise ValueError('endpoint belongs to manager = "circus", and only to it')
        if self.own_socket and (self.units == "hookd" or self.listen):
            raise ValueError('own_socket belongs to units = "existing", and instead of listen')
        return self


class Health(Section):
    """The health check that makes a release good."""

    url: HealthUrl = Field(
        ..., description="`http://HOST:PORT/path` or `unix:/path.sock:/path`. `{colour}` stands for blue or green."
    )
    status: int = Field(200, ge=100, le=599, description="The status that means healthy.")
    host: str = Field(
        "localhost", pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$", description="The Host header of the request."
    )
    successes: int = Field(3, ge=1, le=100, description="Required number of consecutive healthy answers.")
    steady: float = Field(1, ge=0, le=300, description="Seconds that the same process must stay healthy.")
    deadline: float = Field(30, gt=0, le=600, description="Seconds until a release without healthy answers is bad.")
    timeout: float = Field(5, gt=0, le=120, description="Seconds for one answer.")


class Site(Section):
    """The nginx site in front of the app."""

    domain: Domain | None = Field(None, description="The public domain. Default: no site.")
    max_body: int = Field(10, ge=1, le=10_240, description="Largest request in MiB.")


class Paths(Section):
    """The paths whose changes are deployed, as git patterns from the top: `src/**`, `*.py`, `docs`."""

    include: tuple[Pattern, ...] = Field((), description="A head that changes none of these is skipped. Default: all.")
    exclude: tuple[Pattern, ...] = Field((), description="A head that changes only these is skipped, such as `docs`.")


class Reconcile(Section):
    """The interval of git host polls, which find pushes whose webhook was lost."""

    every: int = Field(
        180, ge=0, le=86_400, description="Longest seconds until a lost push is found. 0 turns polling off."
    )


class Limits(Section):
    """Limits of a deployment."""

    step_seconds: float = Field(600, gt=0, le=86_400, description="Longest run of one command.")
    silence_seconds: float = Field(120, gt=0, le=86_400, description="Longest silence of one command.")
    git_seconds: float = Field(300, gt=0, le=86_400, description="Longest run of one git command.")
    deploy_seconds: int = Field(1800, gt=0, le=86_400, description="Longest run of a whole deployment.")
    lock_seconds: float = Field(60, gt=0, le=3600, description="Longest wait for another deployment of this app.")
    free_mib: int = Field(512, ge=1, description="Free space, in MiB, below which no deployment starts.")
    free_inodes: int = Field(10_000, ge=0, description="Free inodes below which no deployment starts.")
    keep_releases: int = Field(5, ge=2, le=100, description="Good releases kept on disk.")


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
    dependencies: Dependencies = Dependencies()
    build: Build = Build()
    shared: Shared = Shared()
    ownership: Ownership = Ownership()
    service: Service = Service()
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
        if self.service.handover == "restart":
            return frozenset({self.service_name})
        return frozenset({self.service_of("blue"), self.service_of("green")})

    @property
    def shared_root(self) -> Path:
        """The directory of shared files."""
        return self.shared.root or self.root / "shared"

    @property
    def data_root(self) -> Path:
        """The parent of shared directories."""
        return self.shared.data or self.shared_root


class Conflict(NamedTuple):
    """A directory or a service that two apps share."""

    apps: tuple[str, str]
    why: str

    def __str__(self) -> str:
        return f"{' and '.join(self.apps)}: {self.why}"


class Catalogue(Section):
    """All apps of the host."""

    apps: tuple[App, ...] = ()

    def get(self, name: str) -> App | None:
        """Return an app by its name."""
        return next((app for app in self.apps if app.name == name), None)

    def conflicts(self) -> list[Conflict]:
        """Return the directories and services that two apps share."""
        return [*self._nested_roots(), *self._shared_services()]

    def _nested_roots(self) -> Iterator[Conflict]:
        """Compare each root with its predecessors in path order, because a nested root directly follows its parent."""
        parents: list[App] = []
        for app in sorted(self.apps, key=lambda app: app.root.parts):
            while parents and not app.root.is_relative_to(parents[-1].root):
                parents.pop()
            if parents:
                yield Conflict((parents[-1].name, app.name), f"one root lies in the other ({app.root})")
            parents.append(app)

    def _shared_services(self) -> Iterator[Conflict]:
        owners: dict[tuple[str | None, str], str] = {}
        for app in self.apps:
            for service in sorted(app.services):
                owner = owners.setdefault((app.service.endpoint, service), app.name)
                if owner != app.name:
                    yield Conflict((owner, app.name), f"the same service ({service})")
