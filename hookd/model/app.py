"""apps/<app>.toml: the configuration of one app. No value comes from a push."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from hookd.model.fields import (
    AbsolutePath,
    Account,
    Argv,
    Backup,
    BranchName,
    Commands,
    HealthStatus,
    HealthUrl,
    InsidePath,
    MemorySize,
    PackageGroup,
    Pattern,
    PythonChoice,
    Repository,
    Section,
)
from hookd.model.git_hosts import GitHost
from hookd.model.ids import AppName
from hookd.model.process import Process, ProcessName, Timer, expected_processes, stop_seconds
from hookd.model.service import COLOURS, Colour, Service
from hookd.model.site import Site

# Keys of `build` in older catalogues for what is `release.commands` now.
_OLD_COMMANDS: Final = frozenset({"before_switch", "release_commands"})


class Checkout(Section):
    """The parts of a commit that lie outside of its repository."""

    submodules: bool = Field(True, description="Fetch submodules. `false` leaves their directories empty.")
    lfs: bool = Field(True, description="Fetch the files that git-lfs stores. `false` leaves their pointers.")


class Dependencies(Section):
    """The app's virtual environment."""

    file: InsidePath | None = Field(
        None,
        description="The list of packages, from the app's directory or the top. Default: the first of uv.lock, "
        "pylock.toml, poetry.lock, pdm.lock, Pipfile.lock, requirements.txt, pyproject.toml, setup.cfg, setup.py.",
    )
    extras: tuple[PackageGroup, ...] = Field((), description="Extras of the project that are installed, such as prod.")
    groups: tuple[PackageGroup, ...] = Field((), description="Dependency groups that are installed, such as prod.")
    python: PythonChoice | None = Field(
        None,
        description="Python of the virtual environment: a version, or a path. Default: the worker's setting, or one of "
        "this host that the commit asks for.",
    )
    allow_build: bool = Field(True, description="Build packages that have no wheel. `false` takes wheels only.")
    gunicorn: Literal["hookd", "own"] = Field(
        "hookd",
        description="`hookd`: its own gunicorn is added where the app has none, or one before 24.1. `own`: the app's, "
        "with one thread if 21.0 to 24.0.",
    )
    environment: dict[str, str] = Field({}, description="More variables for uv, such as UV_INDEX_URL.")


class Build(Section):
    """The build phase: commands as argument vectors, which run in the release with its venv first on the PATH."""

    commands: Commands = Field((), description="Build commands after the dependencies, such as assets.")
    environment: dict[str, str] = Field({}, description="More variables for the build.")
    environment_file: AbsolutePath | None = Field(
        None, description="The variables of the build (KEY=value lines). The service's are not given to it."
    )
    memory_max: MemorySize = Field("1G", description="Memory of a build. One that needs more ends.")
    cpu_weight: int = Field(20, ge=1, le=10_000, description="A build's share of the CPUs. A site has 100.")
    io_weight: int = Field(20, ge=1, le=10_000, description="A build's share of the disks. A site has 100.")


class ReleasePhase(Section):
    """The release phase: commands that run before the switch, as the app's user with the service's variables."""

    commands: Commands = Field((), description="Last commands before the switch, such as migrations.")
    seconds: int = Field(3600, gt=0, le=86_400, description="Longest run of these commands and the backup.")
    backup: Backup | None = Field(
        None,
        description="Backup before these commands: a command whose output is kept, or `sqlite`, a copy of each SQLite "
        "file in the shared directories.",
    )
    restore: Argv | None = Field(
        None, description="The command that `hookd restore` runs with such an output as its input."
    )

    @model_validator(mode="after")
    def _check_backup(self) -> Self:
        if self.backup is not None and not self.commands:
            raise ValueError("backup only with commands, because it is made right before them")
        if isinstance(self.backup, tuple) != (self.restore is not None):
            raise ValueError("restore with a command as backup, whose output it reads, and only then")
        return self


class Shared(Section):
    """Files and directories that outlive releases. Each release links to them."""

    root: AbsolutePath | None = Field(None, description="Their directory. Default: `shared` below the app's root.")
    data: AbsolutePath | None = Field(None, description="The parent of the directories. Default: the same as `root`.")
    files: tuple[InsidePath, ...] = Field((), description="Files, such as `.env`. A deployment needs each.")
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
    user: Account = Field("www-data", description="The app's user, as in docs/server.md.")
    group: Account = Field(
        default_factory=lambda known: str(known["user"]),
        description="The group of code and data. Default: named like the user.",
    )


class Health(Section):
    """The health check that makes a release good."""

    url: HealthUrl = Field(
        ..., description="`http://HOST:PORT/path` or `unix:/path.sock:/path`. `{colour}` stands for blue or green."
    )
    status: HealthStatus = Field(
        200, description="The status that means healthy. `<500`: any below, such as a redirect or a login."
    )
    host: str = Field(
        "localhost", pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$", description="The Host header of the request."
    )
    successes: int = Field(3, ge=1, le=100, description="Required healthy answers in a row.")
    steady: float = Field(1, ge=0, le=300, description="Seconds that gunicorn stays healthy, and each new process up.")
    deadline: float = Field(30, gt=0, le=600, description="Seconds until a release without healthy answers is bad.")
    timeout: float = Field(5, gt=0, le=120, description="Seconds for one answer.")

    def accepts(self, status: int) -> bool:
        """Return True for a status that means healthy."""
        return status < 500 if self.status == "<500" else status == self.status

    def url_of(self, colour: str | None) -> str:
        """Return the URL of the service of a colour, or of the only one."""
        return self.url.replace("{colour}", colour or "")


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
    deploy_seconds: int = Field(
        1800, gt=0, le=86_400, description="Longest run of a deployment without its release phase."
    )
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

    @model_validator(mode="before")
    @classmethod
    def _move_old_keys(cls, table: Any) -> Any:
        """Read the release commands of older catalogues, which are a part of the table `build` there."""
        build = table.get("build") if isinstance(table, dict) else None
        if not isinstance(build, dict) or _OLD_COMMANDS.isdisjoint(build) or "release" in table:
            return table
        kept = {key: value for key, value in build.items() if key not in _OLD_COMMANDS}
        commands = next(value for key, value in build.items() if key in _OLD_COMMANDS)
        return {**table, "build": kept, "release": {"commands": commands}}

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
                if f"{directory}/".startswith(f"{shared}/") or f"{shared}/".startswith(f"{directory}/"):
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
