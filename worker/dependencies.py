"""The app's virtual environment: built at its final path, keyed by what goes into it, used again while that holds."""

import hashlib
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from worker.commands import Command, Install
from worker.errors import CommandFailed, CommitRefused, DeployError
from worker.task import Task

Kind = Literal["lock", "hashed", "plain", "project", "none"]
_FOUND: Final = ("uv.lock", "requirements.txt", "pyproject.toml")
_COMPLETE: Final = ".hookd-complete"
_MOST_FILES: Final = 50


@dataclass(frozen=True)
class Wanted:
    """What a release needs: the file that says so, its kind, and everything that file draws in."""

    kind: Kind
    file: Path | None
    texts: tuple[bytes, ...]


def wanted(release: Path, file: str | None) -> Wanted:
    """Find out what a release needs; raises CommitRefused for a file that cannot be used."""
    name = file or next((name for name in _FOUND if (release / name).is_file()), None)
    if name is None:
        return Wanted("none", None, ())
    path = release / name
    if not path.is_file():
        raise CommitRefused(f"the commit has no {name}, which dependencies.file asks for")
    if path.name == "uv.lock":
        return Wanted("lock", path, (path.read_bytes(), _bytes(release / "pyproject.toml")))
    if path.suffix == ".toml":
        return Wanted("project", path, (path.read_bytes(),))
    texts = _with_included(release, path)
    return Wanted("hashed" if b"--hash=" in b"".join(texts) else "plain", path, texts)


def _with_included(release: Path, first: Path) -> tuple[bytes, ...]:
    """Read a requirements file and the files it includes; refuses what would run code of the repository."""
    texts: list[bytes] = []
    waiting = [first]
    while waiting:
        path = waiting.pop(0)
        if not path.resolve().is_relative_to(release.resolve()) or len(texts) >= _MOST_FILES:
            raise CommitRefused(f"{first.name} includes {path}, which is not in the commit")
        text = _bytes(path)
        texts.append(text)
        waiting += [path.parent / name for name in _included(text, path)]
    return tuple(texts)


def _included(text: bytes, path: Path) -> list[str]:
    found = []
    for line in text.decode("utf-8", "replace").splitlines():
        option, _, value = line.strip().replace("=", " ", 1).partition(" ")
        if option in ("-r", "--requirement", "-c", "--constraint"):
            found.append(value.strip())
        elif option in ("-e", "--editable") or line.strip().startswith((".", "/", "file:")):
            raise CommitRefused(
                f"{path.name} installs from a directory ({line.strip()[:80]}), which would run its build code"
            )
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommitRefused(f"{path.name} cannot be read: {error.strerror}") from None


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


def key_of(need: Wanted, python: Path, allow_build: bool) -> str:
    """Name an environment by everything that decides what is in it: interpreter and requirements, byte for byte."""
    real = python.resolve()
    digest = hashlib.sha256()
    interpreter = f"{real} {real.stat().st_mtime_ns}"
    for data in (interpreter.encode(), need.kind.encode(), str(allow_build).encode(), *need.texts):
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:24]


def install(task: Task, release: Path) -> Path:
    """Make the environment that a release needs, unless it is there, and return it."""
    need = wanted(release, task.app.dependencies.file)
    python = find_python(task)
    if not python.exists():
        raise DeployError(f"there is no Python at {python}", hint="set dependencies.python to one that exists")
    venv = task.places.venvs / key_of(need, python, task.app.dependencies.allow_build)
    if (venv / _COMPLETE).exists():
        task.recorder.line(f"the environment {venv.name} fits and is used again")
        return venv
    _build(task, need, _tools(task, release, python, venv))
    (venv / _COMPLETE).touch()
    return venv


def _tools(task: Task, release: Path, python: Path, venv: Path) -> Install:
    return Install(
        tool=find_uv(task),
        python=python,
        venv=venv,
        cwd=release,
        limits=task.app.limits,
        env=task.install_environment(),
        allow_build=task.app.dependencies.allow_build,
    )


def _build(task: Task, need: Wanted, tools: Install) -> None:
    """Build an environment; what an earlier attempt left half-built goes first."""
    if tools.venv.exists():
        shutil.rmtree(tools.venv)
    tools.venv.parent.mkdir(parents=True, exist_ok=True)
    task.run(tools.create())
    command = _installation(need, tools)
    if command is None:
        return
    try:
        task.run(command)
    except CommandFailed as error:
        name = need.file.name if need.file else "nothing"
        raise CommandFailed(
            f"the dependencies of {name} cannot be installed: {error.cause}", lines=error.lines, hint=error.hint
        ) from None


def _installation(need: Wanted, tools: Install) -> Command | None:
    if need.file is None:
        return None
    match need.kind:
        case "lock":
            if tools.tool is None:
                raise DeployError(
                    "uv.lock needs uv, which is not installed", hint="install uv, or commit a requirements.txt"
                )
            return tools.lock()
        case "project":
            return tools.project(_project_requirements(need.file), need.file)
        case kind:
            return tools.requirements(need.file, hashed=kind == "hashed")


def _project_requirements(file: Path) -> tuple[str, ...]:
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommitRefused(f"{file.name} is not TOML: {error}") from None
    found = project.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise CommitRefused(f"{file.name} has a project.dependencies that is no list of texts")
    return tuple(found)
