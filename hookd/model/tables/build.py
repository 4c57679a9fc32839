"""The tables `dependencies`, `build` and `release` of an app: what makes a release, and what ends its preparation."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from hookd.model.tables.fields import (
    AbsolutePath,
    Argv,
    Backup,
    Commands,
    InsidePath,
    MemorySize,
    PackageGroup,
    PythonChoice,
    Section,
)

# The names of locks, the most exact first.
LOCKS: Final = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock")


class Dependencies(Section):
    """The app's virtual environment."""

    file: InsidePath | None = Field(
        None,
        description="The list of packages, from the app's directory or the top. Default: the first of "
        f"{', '.join(LOCKS)}, requirements.txt, pyproject.toml, setup.cfg, setup.py.",
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
