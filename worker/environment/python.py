"""Choose the Python of an environment: one that fits the commit, found on this host before anything is installed."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.model.hint import Hint, HintKind
from hookd.model.nested import table
from hookd.model.python_version import fits, pinned_minor, to_specifier
from hookd.model.units.phases import MANAGED_PYTHONS
from worker.context import Task
from worker.environment.commit_files import CommitFiles
from worker.errors import CommandFailed, DeployError
from worker.process.run import SYSTEM_PATH, Command, lines_of

_SECONDS: Final = 30.0
_VERSION_FILES: Final = (".python-version", "runtime.txt")
# Longer than any version.
_MAX_SHOWN: Final = 40
_OTHER_CHARACTER: Final = re.compile(r"[^\w.+-]", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """A condition for the version of Python, and the place that asks for it. `is_pinned` means one minor version."""

    spec: str
    place: str
    is_pinned: bool = False

    def __str__(self) -> str:
        return f"{self.spec} ({self.place})"


def from_specifier(text: Any, place: str) -> list[Wanted]:
    """Return the condition of a `requires-python`, also as Poetry writes it, or none for another value."""
    specifier = to_specifier(text) if isinstance(text, str) else None
    return [Wanted(specifier, place)] if specifier else []


def from_version_files(files: CommitFiles, directories: Iterable[Path]) -> list[Wanted]:
    """Return the version that the first `.python-version` or `runtime.txt` names. Its last number is not compared."""
    for path in (directory / name for directory in directories for name in _VERSION_FILES):
        if not files.has(path):
            continue
        for line in files.text(path).splitlines():
            text = line.split("#")[0].strip()
            if not text:
                continue
            if minor := pinned_minor(text):
                return [Wanted(f"=={minor}.*", path.name, is_pinned=True)]
            return from_specifier(text, path.name) or [Wanted(_shown(text), path.name, is_pinned=True)]
    return []


def _shown(text: str) -> str:
    """Return what may be shown of a text that is no version. The result is none either."""
    return _OTHER_CHARACTER.sub("?", text[:_MAX_SHOWN])


def from_project(project: dict[str, Any]) -> list[Wanted]:
    """Return the conditions of pyproject.toml."""
    poetry = table(project, "tool", "poetry", "dependencies").get("python")
    place = "pyproject.toml"
    return [
        *from_specifier(table(project, "project").get("requires-python"), place),
        *from_specifier(poetry, place),
    ]


def choose_python(task: Task, uv: Path, wanted: list[Wanted]) -> Path:
    """Return the Python of the app's file, the default one, or one of this host that fits. Raises DeployError."""
    given = task.app.dependencies.python
    hard = [one for one in wanted if not one.is_pinned]
    if given and given.startswith("/"):
        return _checked(uv, Path(given), hard)
    if given:
        version = given if given.count(".") > 1 else f"{given}.*"
        return _search(task, uv, [*hard, Wanted(f"=={version}", "dependencies.python")])
    default = default_python(task)
    if not wanted:
        return default
    own_version = ".".join(map(str, sys.version_info[:3]))
    if default == _own_python() and all(fits(own_version, one.spec) for one in wanted):
        return default
    try:
        return _search(task, uv, wanted)
    except DeployError:
        if not hard or hard == wanted:
            raise
        found = _search(task, uv, hard)
        pinned = next(one for one in wanted if one.is_pinned)
        task.recorder.line(f"warning: no Python of this host is {pinned}; {found} fits {', '.join(map(str, hard))}")
        return found


def default_python(task: Task) -> Path:
    """Return the Python of the settings, or hookd's own. Raises DeployError if it does not exist."""
    python = task.settings.worker.python or _own_python()
    if not python.exists():
        raise DeployError(f"there is no Python at {python}", hint=Hint(HintKind.SET_PYTHON))
    return python


def _own_python() -> Path:
    return Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def _checked(uv: Path, python: Path, wanted: list[Wanted]) -> Path:
    """Return a Python of the app's file. Raises DeployError if it does not exist or does not fit."""
    if not python.exists():
        raise DeployError(f"there is no Python at {python}", hint=Hint(HintKind.SET_PYTHON))
    if wanted:
        version = _ask(uv, str(python), SYSTEM_PATH, "--show-version")
        for one in wanted:
            if not fits(version, one.spec):
                cause = f"the commit needs Python {one}, and dependencies.python is {version}"
                raise DeployError(cause, hint=Hint(HintKind.SET_PYTHON))
    return python


def _search(task: Task, uv: Path, wanted: list[Wanted]) -> Path:
    """Return the first Python on the host's paths that fits. Raises DeployError."""
    spec = ",".join(one.spec for one in wanted)
    places = [str(default_python(task).parent), *map(str, _managed(task)), SYSTEM_PATH]
    try:
        # uv would take another text for a program, and run it.
        if not all(to_specifier(one.spec) for one in wanted):
            raise CommandFailed("not a version")
        found = _ask(uv, spec, ":".join(places))
    except CommandFailed:
        cause = f"no Python of this host is {' and '.join(map(str, wanted))}"
        raise DeployError(cause, hint=_install_hint(task, wanted)) from None
    task.recorder.line(f"Python is {found}, because {' and '.join(map(str, wanted))} is asked for")
    return Path(found)


def _managed(task: Task) -> list[Path]:
    """Return the directories of the Pythons that uv has installed for apps."""
    homes = [MANAGED_PYTHONS]
    if not task.app.uses_systemd:  # On a server no app can read them.
        homes.append(Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local" / "share" / "uv" / "python")))
    return [path for home in homes for path in sorted(home.glob("*/bin"), reverse=True)]


def _ask(uv: Path, wanted: str, path: str, *options: str) -> str:
    """Return the answer of `uv python find`, which runs no code of the commit. Raises CommandFailed.

    `wanted` is a specifier, or a program that a person has named.
    """
    argv = (str(uv), "python", "find", "--no-config", "--no-cache", "--no-project", *options, "--", wanted)
    env = {"PATH": path, "HOME": "/nonexistent", "UV_PYTHON_DOWNLOADS": "never", "LANG": "C.UTF-8"}
    return lines_of(Command(argv, _SECONDS, _SECONDS, Path("/"), env))[-1]


def _install_hint(task: Task, wanted: list[Wanted]) -> Hint:
    """Return the command that installs the oldest minor version that fits, or the key without one."""
    versions = (f"3.{minor}" for minor in range(8, 20))
    fitting = next((v for v in versions if all(fits(f"{v}.99", one.spec) for one in wanted)), None)
    if fitting is None:
        return Hint(HintKind.SET_PYTHON)
    return Hint(HintKind.INSTALL_PYTHON if task.app.uses_systemd else HintKind.INSTALL_OWN_PYTHON, fitting)
