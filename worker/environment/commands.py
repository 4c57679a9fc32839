"""Builds uv's commands for one virtual environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hookd.model.app import App
from worker.environment.source import Source
from worker.process.run import Command

# What uv reads instead of a requirements file: includes are expanded, and paths are absolute.
PACKAGES: Final = "hookd-packages.txt"
CONSTRAINTS: Final = "hookd-constraints.txt"
# uv ignores packages that are newer.
_DAY: Final = "UV_EXCLUDE_NEWER"
# The exporter of poetry.lock. No other program reads all its versions.
_POETRY: Final = ("poetry==2.5.1", "poetry-plugin-export==1.10.1")


@dataclass(frozen=True)
class VenvCommands:
    """Builds uv's commands for one virtual environment.

    `own_python` runs programs that are not the app's. `is_linked` means that the environment starts with the packages
    of an earlier one, and `is_fresh` that nothing in uv's cache is trusted.
    """

    uv: Path
    python: Path
    own_python: Path
    venv: Path
    app: App
    source: Source
    env: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_linked: bool = False
    is_fresh: bool = False

    def create(self) -> Command:
        """Create the empty environment at its final path: a virtual environment cannot be moved."""
        return self._uv("venv", "--quiet", "--allow-existing", "--python", str(self.python), "--", str(self.venv))

    def install(self) -> list[Command]:
        """Install the packages of a release, but not the project itself, which uv.lock alone includes."""
        file = str(self.source.file)
        match self.source.kind:
            case "none":
                return []
            case "uv":
                return [self._sync_lock()]
            case "pylock":
                return [self._pip("sync", file, *self._chosen)]
            case "poetry":
                return [self._export(), self._pip("sync", self._list)]
            case "locked":
                return [self._pip("sync", self._list)]
            case "hashed":
                return [self._pip("sync", "--require-hashes", *self._given, self._list)]
            case "list":
                return [self._pip("install", *self._exactly, *self._given, "-r", self._list)]
            case "project":
                return [self._pip("install", *self._exactly, *self._chosen, "-r", file)]

    def install_project(self) -> Command:
        """Install the project itself, whose packages are there already."""
        return self._pip("install", "--no-deps", str(self.source.project))

    def add(self, requirements: tuple[str, ...]) -> Command:
        """Install further packages, also where the project's own are those of an earlier day."""
        command = self._pip("install", *requirements)
        return replace(command, env={name: value for name, value in command.env.items() if name != _DAY})

    def _sync_lock(self) -> Command:
        # --locked fails if the lock does not fit the project.
        local = () if self.app.dependencies.allow_build else ("--no-install-local",)
        options = ("--locked", "--no-default-groups", "--no-dev", "--no-editable", *self._chosen, *local)
        # A workspace installs the project in the app's directory, and the lock lies above.
        command = self._uv(
            "sync", *options, *self._limits, UV_PROJECT_ENVIRONMENT=str(self.venv), UV_PYTHON=self._python
        )
        return replace(command, cwd=self.source.directory)

    def _export(self) -> Command:
        """Write the packages of poetry.lock as a list, by Poetry itself."""
        main, plugin = _POETRY
        groups = ",".join(("main", *self.app.dependencies.groups))
        extras = [word for name in self.app.dependencies.extras for word in ("--extras", name)]
        return self._uv(
            "tool", "run", "--quiet", "--python", str(self.own_python), "--from", main, "--with", plugin,
            "poetry", "export", "--format", "requirements.txt", "--only", groups, *extras, "--output", self._list,
            VIRTUAL_ENV="", POETRY_VIRTUALENVS_CREATE="false",
        )  # fmt: skip

    @property
    def _given(self) -> tuple[str, ...]:
        constraints = ("-c", str(self.venv / CONSTRAINTS)) if self.source.packages.constraints else ()
        return (*self.source.packages.options, *constraints)

    @property
    def _exactly(self) -> tuple[str, ...]:
        """The options with which an environment that starts with packages ends like one that started empty."""
        return ("--exact", "--upgrade") if self.is_linked else ()

    @property
    def _chosen(self) -> tuple[str, ...]:
        extras = [word for name in self.app.dependencies.extras for word in ("--extra", name)]
        groups = [word for name in self.app.dependencies.groups for word in ("--group", name)]
        return (*extras, *groups)

    @property
    def _list(self) -> str:
        return str(self.venv / PACKAGES)

    @property
    def _python(self) -> str:
        return str(self.venv / "bin" / "python")

    @property
    def _limits(self) -> tuple[str, ...]:
        builds = () if self.app.dependencies.allow_build else ("--no-build",)
        return (*builds, *(("--refresh",) if self.is_fresh and "UV_OFFLINE" not in self.env else ()))

    def _pip(self, verb: str, *arguments: str) -> Command:
        return self._uv("pip", verb, "--python", self._python, *self._limits, *arguments)

    def _uv(self, *arguments: str, **extra: str) -> Command:
        limits = self.app.limits
        argv = (str(self.uv), *arguments)
        env = {**self.env, **extra}
        return Command(argv, limits.step_seconds, limits.silence_seconds, self.source.directory, env, self.files)
