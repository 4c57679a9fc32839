"""Classification of untracked paths into shared files, data directories and paths outside releases."""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, Literal

UntrackedKind = Literal["file", "data", "left", "unclear"]
MayWrite = Callable[[os.stat_result], bool]

# Made again by a build or a run, or files of a tool.
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
    """An untracked path with its kind and the reason for it."""

    path: str
    kind: UntrackedKind
    reason: str


@dataclass(frozen=True)
class PathChoices:
    """Kinds of paths chosen on the command line."""

    data: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()

    def kind_of(self, path: str) -> UntrackedKind | None:
        """Return the chosen kind of a path."""
        if path in self.leave:
            return "left"
        return "data" if path in self.data else "file" if path in self.files else None


@dataclass(frozen=True)
class TrackedPaths:
    """Paths of the commit, and the directories that no link can replace because of them."""

    paths: frozenset[str]
    directories: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        parents = {parent for path in self.paths if not _is_placeholder(path) for parent in _parents(path)}
        deeper = {above for path in self.paths for above in _parents(path)[:-1]}
        object.__setattr__(self, "directories", frozenset(parents | deeper))

    def has_files_in(self, directory: str) -> bool:
        """Return True if the commit has files in a directory, besides a placeholder."""
        return directory in self.directories

    def link_path(self, path: str) -> str:
        """Return the outermost directory of a path that can be one link, or the path itself."""
        return next(one for one in (*_parents(path), path.rstrip("/")) if not self.has_files_in(one))


def _is_placeholder(path: str) -> bool:
    return path.rpartition("/")[2] in _PLACEHOLDERS


def _parents(path: str) -> list[str]:
    """Return the directories of a path, the outermost first."""
    parts = path.rstrip("/").split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def classify(
    root: Path, untracked: Iterable[str], tracked: TrackedPaths, choices: PathChoices, may_write: MayWrite
) -> list[UntrackedPath]:
    """Classify untracked paths. `may_write` returns True if the app's user can write to a file."""
    found: dict[str, UntrackedPath] = {}
    for path in untracked:
        one = _classify_path(root, path, tracked, choices, may_write)
        if one is not None:
            found.setdefault(one.path, one)
    for path in choices.data | choices.files:
        found.setdefault(path, UntrackedPath(path, "data" if path in choices.data else "file", "your choice"))
    data = {one.path for one in found.values() if one.kind == "data"}
    return [one for one in found.values() if not data & set(_parents(one.path))]


def _classify_path(
    root: Path, path: str, tracked: TrackedPaths, choices: PathChoices, may_write: MayWrite
) -> UntrackedPath | None:
    name = path.rstrip("/")
    parts, places = name.split("/"), (*_parents(name), name)
    if parts[0] in _RESERVED:
        return None
    for place in places:
        if kind := choices.kind_of(place):
            return UntrackedPath(place, kind, "your choice")
    if any(fnmatch(part, pattern) for part in parts for pattern in _GENERATED):
        return UntrackedPath(name, "left", "generated, or a tool's own")
    if venv := next((place for place in places if (root / place / "pyvenv.cfg").is_file()), None):
        return UntrackedPath(venv, "left", "the old environment: each release has its own")
    link = tracked.link_path(path)
    return UntrackedPath(link, *_classify_file(root / link, may_write))


def _classify_file(path: Path, may_write: MayWrite) -> tuple[UntrackedKind, str]:
    try:
        found = path.stat()
    except OSError:
        return "left", "unreadable"
    if stat.S_ISDIR(found.st_mode):
        return "data", "an untracked directory"
    if not stat.S_ISREG(found.st_mode):
        return "left", "neither file nor directory"
    if _is_database(path):
        return "unclear", "a database needs a directory that the app can write to"
    if may_write(found) and not any(fnmatch(path.name, pattern) for pattern in _SETTINGS):
        return "unclear", "the app can write to it now, but not to a shared file"
    return "file", "an untracked file"


def _is_database(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
