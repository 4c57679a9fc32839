"""Sorts what git does not track into shared files, data directories and what stays where it is; pure but for a look."""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, Literal

UntrackedKind = Literal["file", "data", "left", "unclear"]

# Made anew by every build or run, or a tool's own: nothing is lost when a release does not have it.
_GENERATED: Final = (
    "__pycache__", "*.pyc", "*.pyo", "node_modules", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox", ".nox",
    ".eggs", "*.egg-info", ".idea", ".vscode", ".coverage", "htmlcov", ".DS_Store", "*.swp", "*~", "*.pid", "*.sock",
)  # fmt: skip
_RESERVED: Final = ("releases", "venvs", "current")
_SETTINGS: Final = (
    ".env*", "*.env", "*.ini", "*.toml", "*.cfg", "*.conf", "*.json", "*.yaml", "*.yml", "*.py", "*.pem", "*.key",
    "*.crt",
)  # fmt: skip
_PLACEHOLDERS: Final = frozenset({".gitkeep", ".keep", ".gitignore", ".placeholder"})
_SQLITE: Final = b"SQLite format 3\x00"


@dataclass(frozen=True)
class UntrackedPath:
    """Something that git does not track: what becomes of it, and why."""

    path: str
    kind: UntrackedKind
    why: str


@dataclass(frozen=True)
class PathChoices:
    """What the person said of some of them."""

    data: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TrackedPaths:
    """What the commit has, as far as it stands in the way of links."""

    tracked: frozenset[str]
    above: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        parents = {parent for path in self.tracked if not _is_placeholder(path) for parent in _parents(path)}
        deeper = {above for path in self.tracked for above in _parents(path)[:-1]}
        object.__setattr__(self, "above", frozenset(parents | deeper))

    def has(self, directory: str) -> bool:
        """Tell whether the commit has files of its own there, so that no link can stand in its place."""
        return directory in self.above

    def point(self, path: str) -> str:
        """The outermost directory around a path that can be linked as a whole, or the path itself."""
        around = [*_parents(path), path.rstrip("/")]
        return next(directory for directory in around if not self.has(directory))


def _is_placeholder(path: str) -> bool:
    return path.rpartition("/")[2] in _PLACEHOLDERS


def _parents(path: str) -> list[str]:
    """The directories around a path, the outermost first."""
    parts = path.rstrip("/").split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def classify(
    root: Path,
    loose: Iterable[str],
    tree: TrackedPaths,
    wishes: PathChoices,
    app_writes: Callable[[os.stat_result], bool],
) -> list[UntrackedPath]:
    """Sort; `app_writes` tells whether the app's user may write to what was looked at."""
    found: dict[str, UntrackedPath] = {}
    for path in loose:
        one = _classify_path(root, path, tree, wishes, app_writes)
        if one is not None:
            found.setdefault(one.path, one)
    for path in wishes.data | wishes.files:
        found.setdefault(path, UntrackedPath(path, "data" if path in wishes.data else "file", "as you say"))
    inside = {one.path for one in found.values() if one.kind == "data"}
    return [one for one in found.values() if not inside & set(_parents(one.path))]


def _classify_path(
    root: Path, path: str, tree: TrackedPaths, wishes: PathChoices, app_writes: Callable[[os.stat_result], bool]
) -> UntrackedPath | None:
    name = path.rstrip("/")
    if name.split("/")[0] in _RESERVED:
        return None
    if said := _chosen(name, wishes):
        return said
    made = next((part for part in name.split("/") if any(fnmatch(part, one) for one in _GENERATED)), None)
    if made is not None:
        return UntrackedPath(name, "left", "made anew, or a tool's own")
    if venv := next((each for each in (*_parents(name), name) if (root / each / "pyvenv.cfg").is_file()), None):
        return UntrackedPath(venv, "left", "the old environment: each release gets one of its own")
    return _classify_file(root, tree.point(path), app_writes)


def _chosen(name: str, wishes: PathChoices) -> UntrackedPath | None:
    for each in (*_parents(name), name):
        if each in wishes.leave:
            return UntrackedPath(each, "left", "as you say")
        if each in wishes.data:
            return UntrackedPath(each, "data", "as you say")
        if each in wishes.files:
            return UntrackedPath(each, "file", "as you say")
    return None


def _classify_file(root: Path, point: str, app_writes: Callable[[os.stat_result], bool]) -> UntrackedPath | None:
    try:
        found = (root / point).stat()
    except OSError:
        return UntrackedPath(point, "left", "it cannot be looked at")
    if stat.S_ISDIR(found.st_mode):
        return UntrackedPath(point, "data", "a directory that git does not track")
    if not stat.S_ISREG(found.st_mode):
        return UntrackedPath(point, "left", "neither file nor directory")
    if _is_database(root / point):
        return UntrackedPath(point, "unclear", "a database: it needs a directory that the app may write to")
    if app_writes(found) and not any(fnmatch(point.rpartition("/")[2], one) for one in _SETTINGS):
        return UntrackedPath(point, "unclear", "the app may write to it, and could not any more")
    return UntrackedPath(point, "file", "a file that git does not track")


def _is_database(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
