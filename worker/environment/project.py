"""Read pyproject.toml: if the project is a package, its Python, and its settings for uv."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hookd.model.nested import table, texts
from worker.errors import CommitRefused

PYPROJECT: Final = "pyproject.toml"
# Room for the lock of a large project.
_MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_DOTS: Final = 50
# tomllib keeps each beginning of a dotted key.
_LONG_KEY: Final = re.compile(
    rf"""^[ \t]*+\[{{0,2}}+(?:[ \t]*+(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.){{{_MAX_DOTS + 1}}}""",
    re.MULTILINE,
)
_SETUP_FILES: Final = ("setup.py", "setup.cfg")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file of the commit. Raises CommitRefused."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CommitRefused(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise CommitRefused(f"{path.name} exceeds {_MAX_BYTES // 1024**2} MiB")
    return content


def decoded(path: Path) -> str:
    """Return a file of the commit as text. Raises CommitRefused."""
    return read_bytes(path).decode("utf-8", "replace")


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file of the commit. Raises CommitRefused."""
    try:
        text = read_bytes(path).decode("utf-8")
        if _LONG_KEY.search(text):
            raise CommitRefused(f"{path.name} has a key of more than {_MAX_DOTS} dots")
        return tomllib.loads(text)
    except RecursionError:
        raise CommitRefused(f"{path.name} is nested too deeply") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommitRefused(f"{path.name} is not TOML: {error}") from None


def read_project(directory: Path) -> dict[str, Any]:
    """Return pyproject.toml of a directory, empty if there is none. Raises CommitRefused."""
    path = directory / PYPROJECT
    return read_toml(path) if path.is_file() else {}


def has_dependencies(project: dict[str, Any]) -> bool:
    """Return True if pyproject.toml lists packages or describes one. Many hold settings of tools alone."""
    return bool({"project", "build-system", "dependency-groups"} & project.keys() or table(project, "tool", "poetry"))


def is_package(directory: Path, project: dict[str, Any]) -> bool:
    """Return True if the project is built and installed itself: it names its build, or has a setup file and `src`."""
    if table(project, "tool", "uv").get("package") is False:
        return False
    if table(project, "tool", "poetry").get("package-mode") is False:
        return False
    if "build-system" in project:
        return "project" in project or bool(table(project, "tool")) or _has_setup_file(directory)
    return _has_setup_file(directory) and uses_src(directory)


def _has_setup_file(directory: Path) -> bool:
    """Return True if setuptools describes the project in a file of its own."""
    return any((directory / name).is_file() for name in _SETUP_FILES)


def uses_src(directory: Path) -> bool:
    """Return True if the packages lie in `src`, so that only an installation makes them importable."""
    source = directory / "src"
    return (source.is_dir() and any(source.glob("*/__init__.py"))) or any(source.glob("*.py"))


def has_local_sources(project: dict[str, Any]) -> bool:
    """Return True if uv installs more packages from the commit itself."""
    listed = [*texts(table(project, "project").get("dependencies"))]
    for many in table(project, "project", "optional-dependencies").values():
        listed += texts(many)
    return any(_is_local(source) for source in _sources(project)) or any("file:" in line for line in listed)


def _sources(project: dict[str, Any]) -> Iterator[Any]:
    for given in table(project, "tool", "uv", "sources").values():
        yield from given if isinstance(given, list) else [given]


def _is_local(source: Any) -> bool:
    return isinstance(source, dict) and bool({"path", "workspace"} & source.keys())
