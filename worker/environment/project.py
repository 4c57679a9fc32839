"""The meaning of pyproject.toml: if it lists packages, is a package, and if uv installs more of the commit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hookd.model.nested import table, texts
from worker.environment.commit_files import CommitFiles

_SETUP_FILES: Final = ("setup.py", "setup.cfg")


def has_dependencies(project: dict[str, Any]) -> bool:
    """Return True if pyproject.toml lists packages or describes one. Many hold settings of tools alone."""
    return bool({"project", "build-system", "dependency-groups"} & project.keys() or table(project, "tool", "poetry"))


def is_package(files: CommitFiles, directory: Path, project: dict[str, Any]) -> bool:
    """Return True if the project is built and installed itself: it names its build, or has a setup file and `src`."""
    if table(project, "tool", "uv").get("package") is False:
        return False
    if table(project, "tool", "poetry").get("package-mode") is False:
        return False
    if "build-system" in project:
        return "project" in project or bool(table(project, "tool")) or _has_setup_file(files, directory)
    return _has_setup_file(files, directory) and uses_src(files, directory)


def _has_setup_file(files: CommitFiles, directory: Path) -> bool:
    """Return True if setuptools describes the project in a file of its own."""
    return any(files.has(directory / name) for name in _SETUP_FILES)


def uses_src(files: CommitFiles, directory: Path) -> bool:
    """Return True if the packages lie in `src`, so that only an installation makes them importable."""
    source = files.resolve(directory / "src")
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
