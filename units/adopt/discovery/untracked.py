"""Classification of untracked paths into shared files, data directories and paths outside releases."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, Literal

UntrackedKind = Literal["file", "data", "left", "unclear"]
MayWrite = Callable[[os.stat_result], bool]

# hookd's own names in a project.
RESERVED: Final = ("releases", "venvs", "current")
# Made again by a build or a run, or files of a tool.
_GENERATED: Final = (
    "__pycache__", "*.pyc", "*.pyo", "node_modules", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox", ".nox",
    ".eggs", "*.egg-info", ".idea", ".vscode", ".coverage", "htmlcov", ".DS_Store", "*.swp", "*~", "*.pid", "*.sock",
)  # fmt: skip
_SETTINGS: Final = (
    ".env*", "*.env", "*.ini", "*.toml", "*.cfg", "*.conf", "*.json", "*.yaml", "*.yml", "*.py", "*.pem", "*.key",
    "*.crt",
)  # fmt: skip
_PLACEHOLDERS: Final = frozenset({".gitkeep", ".keep", ".gitignore", ".placeholder"})


@dataclass(frozen=True)
class UntrackedPath:
    """An untracked path with its kind and the reason for it."""

    path: str
    kind: UntrackedKind
    reason: str


def fixed_directories(tracked: Iterable[str]) -> frozenset[str]:
    """Return the directories that no link can replace, because the commit has files in them besides a placeholder."""
    paths = set(tracked)
    parents = {parent for path in paths if Path(path).name not in _PLACEHOLDERS for parent in _parents(path)}
    return frozenset(parents.union(*(_parents(path)[:-1] for path in paths)))


def _parents(path: str) -> list[str]:
    """Return the directories of a path, the outermost first."""
    return [str(parent) for parent in reversed(Path(path).parents)][1:]


def classify(
    root: Path,
    untracked: Iterable[str],
    fixed: frozenset[str],
    choices: Mapping[str, UntrackedKind],
    may_write: MayWrite,
) -> Iterator[UntrackedPath]:
    """Classify untracked paths. `may_write` returns True if the app's user can write to a file."""
    chosen = {path: UntrackedPath(path, kind, "your choice") for path, kind in choices.items()}
    found = {path: choice for path, choice in chosen.items() if choice.kind != "left"}
    for path in untracked:
        places = (*_parents(path), path.rstrip("/"))
        if places[0] not in RESERVED:
            choice = next((chosen[place] for place in places if place in chosen), None)
            choice = choice or _classify_path(root, places, fixed, may_write)
            found[choice.path] = choice
    data = {choice.path for choice in found.values() if choice.kind == "data"}
    return (choice for choice in found.values() if not data.intersection(_parents(choice.path)))


def _classify_path(root: Path, places: tuple[str, ...], fixed: frozenset[str], may_write: MayWrite) -> UntrackedPath:
    if any(fnmatch(part, pattern) for part in Path(places[-1]).parts for pattern in _GENERATED):
        return UntrackedPath(places[-1], "left", "generated, or a tool's own")
    if venv := next((place for place in places if (root / place / "pyvenv.cfg").is_file()), None):
        return UntrackedPath(venv, "left", "the old environment: each release has its own")
    # The outermost directory that can be one link.
    link = next((place for place in places if place not in fixed), places[-1])
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
    if may_write(found) and not any(fnmatch(path.name, pattern) for pattern in _SETTINGS):
        return "unclear", "the app can write to it now, but not to a shared file"
    return "file", "an untracked file"
