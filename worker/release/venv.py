"""The app's virtual environment: built at its final path, keyed by what goes into it, used again while that holds."""

import hashlib
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.files.policies import Policy
from hookd.model.app import Limits
from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.errors import CommandFailed, DeployError
from worker.process.run import Command, remove_tree
from worker.release import symlinks
from worker.release.disk_space import check_remaining_space
from worker.release.ownership import FIX_PERMISSIONS, enforce_environment
from worker.release.requirements import ALLOW_BUILD_HINT, Requirements, project_requirements, read_requirements


@dataclass(frozen=True)
class VenvCommands:
    """Builds the commands that make a virtual environment; `tool` is uv, or None for Python's own venv and pip."""

    tool: Path | None
    python: Path
    venv: Path
    cwd: Path
    limits: Limits
    env: Mapping[str, str] = field(repr=False)
    allow_build: bool = False

    def _command(self, *argv: str, **extra: str) -> Command:
        return Command(argv, self.limits.step_seconds, self.limits.silence_seconds, self.cwd, {**self.env, **extra})

    @property
    def _no_build(self) -> tuple[str, ...]:
        if self.allow_build:
            return ()
        return ("--no-build",) if self.tool else ("--only-binary", ":all:")

    def create(self) -> Command:
        """Make the empty environment at its final path: a venv does not survive a move."""
        if self.tool:
            return self._command(str(self.tool), "venv", "--quiet", "--python", str(self.python), "--", str(self.venv))
        return self._command(str(self.python), "-m", "venv", "--", str(self.venv))

    def requirements(self, file: Path, *, hashed: bool) -> Command:
        """Install from a requirements file; with hashes exactly what it names and nothing else."""
        hashes = ("--require-hashes",) if hashed else ()
        if self.tool and hashed:
            return self._uv_pip("sync", *hashes, str(file))
        if self.tool:
            return self._uv_pip("install", "-r", str(file))
        return self._pip(*hashes, "-r", str(file))

    def project(self, requirements: tuple[str, ...], file: Path) -> Command:
        """Install what a pyproject.toml depends on, not the project itself."""
        if self.tool:
            return self._uv_pip("install", "-r", str(file))
        return self._pip("--", *requirements)

    def lock(self) -> Command:
        """Install exactly what uv.lock says, not the project itself; refuses a lock that does not fit the project."""
        return self._command(
            str(self.tool), "sync", "--locked", "--no-install-project", "--no-dev", *self._no_build,
            UV_PROJECT_ENVIRONMENT=str(self.venv),
        )  # fmt: skip

    def _uv_pip(self, verb: str, *arguments: str) -> Command:
        python = str(self.venv / "bin" / "python")
        return self._command(str(self.tool), "pip", verb, "--python", python, *self._no_build, *arguments)

    def _pip(self, *arguments: str) -> Command:
        python = str(self.venv / "bin" / "python")
        return self._command(python, "-m", "pip", "install", "--no-input", *self._no_build, *arguments)


COMPLETE_MARK: Final = ".hookd-complete"
_NO_WHEEL_MESSAGE: Final = re.compile(
    r"no usable wheels|no binary distribution|is disabled, but|No matching distribution"
)


def find_uv(task: Task) -> Path | None:
    """Find uv: the one of the settings, the one beside hookd, the one on the PATH."""
    beside = Path(sys.prefix) / "bin" / "uv"
    on_path = shutil.which("uv")
    choices = (task.settings.worker.uv, beside if beside.exists() else None, Path(on_path) if on_path else None)
    return next((choice for choice in choices if choice is not None), None)


def find_python(task: Task) -> Path:
    """Find the Python that the app runs on."""
    own = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return task.app.dependencies.python or task.settings.worker.python or own


def venv_key(need: Requirements, python: Path, allow_build: bool) -> str:
    """Name an environment by everything that decides what is in it: interpreter and requirements, byte for byte."""
    real = python.resolve()
    digest = hashlib.sha256()
    interpreter = f"{real} {real.stat().st_mtime_ns}"
    for data in (interpreter.encode(), need.kind.encode(), str(allow_build).encode(), *need.texts):
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:24]


def prepare_venv(task: Task, release: Path, policy: Policy) -> Path:
    """Make the environment that a release needs, unless it is there and as `policy` wants it, and return it."""
    need = read_requirements(release, task.app.dependencies.file, allow_build=task.app.dependencies.allow_build)
    python = find_python(task)
    if not python.exists():
        raise DeployError(f"there is no Python at {python}", hint=Hint(HintKind.SET_PYTHON))
    venv = task.places.venvs / venv_key(need, python, task.app.dependencies.allow_build)
    if _is_usable(task, venv, policy):
        task.recorder.line(f"the environment {venv.name} fits and is used again")
        return venv
    # uv finds a project where it is started.
    directory = need.file.parent if need.kind == "lock" and need.file else release
    _build(task, need, _tools(task, directory, python, venv))
    task.run(symlinks.flush_command(venv))  # After a power cut the mark must not be there without what it stands for.
    check_remaining_space(task)
    (venv / COMPLETE_MARK).touch()
    return venv


def _is_usable(task: Task, venv: Path, policy: Policy) -> bool:
    """Tell whether an environment is there and complete.

    Raises DeployError when the worker cannot set it right: a commit that does not start in it is not to blame.
    """
    if not venv.exists():
        return False
    enforce_environment(venv, policy, FIX_PERMISSIONS)
    return (venv / COMPLETE_MARK).exists()


def _tools(task: Task, directory: Path, python: Path, venv: Path) -> VenvCommands:
    return VenvCommands(
        tool=find_uv(task),
        python=python,
        venv=venv,
        cwd=directory,
        limits=task.app.limits,
        env=task.install_environment(),
        allow_build=task.app.dependencies.allow_build,
    )


def _build(task: Task, need: Requirements, tools: VenvCommands) -> None:
    """Build an environment; what an earlier attempt left half-built goes first."""
    if tools.venv.exists():
        remove_tree(tools.venv)
    tools.venv.parent.mkdir(parents=True, exist_ok=True)
    task.run(tools.create())
    command = _install_command(need, tools)
    if command is None:
        return
    try:
        task.run(command)
    except CommandFailed as error:
        name = need.file.name if need.file else "nothing"
        hint = ALLOW_BUILD_HINT if any(_NO_WHEEL_MESSAGE.search(line) for line in error.lines) else error.hint
        raise CommandFailed(
            f"the dependencies of {name} cannot be installed: {_describe_failure(error)}", lines=error.lines, hint=hint
        ) from None


def _describe_failure(error: CommandFailed) -> str:
    """Say what uv says is wrong and why; the last line that a program printed is a hint more often than a cause."""
    lines = [line.strip() for line in error.lines]
    wrong = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    why = [line.removeprefix("cause: ") for line in lines if line.startswith("cause: ")]
    return ": ".join([*wrong[:1], *why[:1]]) if wrong else error.cause


def _install_command(need: Requirements, tools: VenvCommands) -> Command | None:
    if need.file is None:
        return None
    match need.kind:
        case "lock":
            if tools.tool is None:
                raise DeployError("uv.lock needs uv, which is not installed", hint=Hint(HintKind.INSTALL_UV))
            return tools.lock()
        case "project":
            return tools.project(project_requirements(need.file), need.file)
        case kind:
            return tools.requirements(need.file, hashed=kind == "hashed")
