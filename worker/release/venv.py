"""The app's virtual environment: built by uv at its final path, and reused while its content stays the same."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.policies import Policy, environment_policy
from hookd.model.app import Limits
from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.errors import CommandFailed, DeployError
from worker.phase.environment import install_environment
from worker.phase.phases import run_build
from worker.process.run import Command, remove_tree
from worker.release.disk_space import check_remaining_space, flush
from worker.release.ownership import enforce
from worker.release.requirements import ALLOW_BUILD_HINT, Requirements, read_requirements

_NO_WHEEL_MESSAGE: Final = re.compile(
    r"no usable wheels|no binary distribution|is disabled, but|No matching distribution"
)


@dataclass(frozen=True)
class VenvCommands:
    """Builds uv's commands for one virtual environment."""

    uv: Path
    python: Path
    venv: Path
    cwd: Path
    limits: Limits
    env: Mapping[str, str] = field(repr=False)
    allow_build: bool = False

    def create(self) -> Command:
        """Create the empty environment at its final path: a virtual environment cannot be moved."""
        return self._command("venv", "--quiet", "--allow-existing", "--python", str(self.python), "--", str(self.venv))

    def install(self, requirements: Requirements) -> Command | None:
        """Install the requirements of a release, but not the app itself, or None if it has none."""
        match requirements.kind:
            case "none":
                return None
            case "lock":
                # --locked fails if the lock does not fit the project.
                options = ("--locked", "--no-install-project", "--no-dev", *self._no_build)
                return self._command("sync", *options, UV_PROJECT_ENVIRONMENT=str(self.venv))
            case "hashed":
                return self._uv_pip("sync", "--require-hashes", str(requirements.file))
            case "plain" | "project":
                return self._uv_pip("install", "-r", str(requirements.file))

    def _uv_pip(self, verb: str, *arguments: str) -> Command:
        python = str(self.venv / "bin" / "python")
        return self._command("pip", verb, "--python", python, *self._no_build, *arguments)

    @property
    def _no_build(self) -> tuple[str, ...]:
        return () if self.allow_build else ("--no-build",)

    def _command(self, *arguments: str, **extra: str) -> Command:
        limits = self.limits
        argv = (str(self.uv), *arguments)
        return Command(argv, limits.step_seconds, limits.silence_seconds, self.cwd, {**self.env, **extra})


def find_uv(task: Task) -> Path:
    """Return the uv of the settings, the one beside hookd, or the one on the PATH. Raises DeployError without one."""
    beside = Path(sys.prefix) / "bin" / "uv"
    found = task.settings.worker.uv or (beside if beside.exists() else shutil.which("uv"))
    if found is None:
        raise DeployError("uv is not installed", hint=Hint(HintKind.INSTALL_UV))
    return Path(found)


def find_python(task: Task) -> Path:
    """Return the Python of the app, of the settings, or hookd's own. Raises DeployError if it does not exist."""
    own = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = task.app.dependencies.python or task.settings.worker.python or own
    if not python.exists():
        raise DeployError(f"there is no Python at {python}", hint=Hint(HintKind.SET_PYTHON))
    return python


def venv_key(requirements: Requirements, python: Path, allow_build: bool) -> str:
    """Return the name of an environment: a hash of its interpreter and its requirements, byte for byte."""
    real = python.resolve()
    digest = hashlib.sha256()
    interpreter = f"{real} {real.stat().st_mtime_ns}"
    parts = (interpreter.encode(), requirements.kind.encode(), str(allow_build).encode(), *requirements.texts)
    for data in parts:
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:24]


def prepare_venv(task: Task, release: Path, policy: Policy) -> Path:
    """Return the environment that a release needs, link to it, and build it if there is none. Raises DeployError."""
    allow_build = task.app.dependencies.allow_build
    requirements = read_requirements(release, task.app.dependencies.file, allow_build=allow_build)
    python = find_python(task)
    venv = task.paths.venvs / venv_key(requirements, python, allow_build)
    (release / "venv").symlink_to(os.path.relpath(venv, release))
    if venv.exists():
        enforce(venv, environment_policy(policy))
        if (venv / COMPLETE_MARK).exists():
            task.recorder.line(f"the environment {venv.name} fits and is used again")
            return venv
    # uv searches for a project in its working directory.
    cwd = requirements.file.parent if requirements.kind == "lock" and requirements.file else release
    commands = VenvCommands(
        find_uv(task), python, venv, cwd, task.app.limits, install_environment(task), allow_build=allow_build
    )
    _build(task, release, requirements, commands)
    flush(task, venv)  # After a power cut the mark must not exist without the files.
    check_remaining_space(task)
    mark_complete(venv)
    return venv


def mark_complete(venv: Path) -> None:
    """Create the mark, and follow no link that a build left there. Raises DeployError."""
    try:
        os.close(os.open(venv / COMPLETE_MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    except FileExistsError:
        raise DeployError(f"the build left {COMPLETE_MARK} in its environment") from None


def _build(task: Task, release: Path, requirements: Requirements, commands: VenvCommands) -> None:
    if commands.venv.exists():
        remove_tree(commands.venv)  # An earlier deployment was killed while it built this environment.
    commands.venv.mkdir(parents=True)
    install = commands.install(requirements)
    try:
        run_build(task, release, [commands.create(), *([install] if install else [])])
    except CommandFailed as error:
        name = requirements.file.name if requirements.file else ""
        hint = ALLOW_BUILD_HINT if any(_NO_WHEEL_MESSAGE.search(line) for line in error.lines) else error.hint
        raise CommandFailed(
            f"the dependencies of {name} cannot be installed: {error.reason or error.cause}",
            lines=error.lines,
            hint=hint,
        ) from None
