"""The links inside a release: those of the commit, and those to the shared files."""

import os
import shutil
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind, LogOnlyHint
from worker.errors import CommitRefused, DeployError
from worker.release.ownership import enforce, writable_policy
from worker.release.tree import TreeEntry

# The file with the release's commit, as Capistrano writes it.
REVISION: Final = "REVISION"
# Files that keep an empty directory in git. A link to a shared directory may replace them.
_PLACEHOLDERS: Final = frozenset({".gitkeep", ".keep", ".gitignore", ".placeholder"})


def reject_reserved_paths(app: App, entries: list[TreeEntry]) -> None:
    """Raise CommitRefused if a commit has files where hookd puts a link."""
    points = ("venv", *app.shared.files, *app.shared.directories)
    for entry in entries:
        point = next((p for p in points if _is_in_the_way(entry, p)), None)
        if point is None or _is_placeholder(app, point, entry):
            continue
        raise CommitRefused(
            f"the commit contains {entry.path}, but {point} is the app's own on this server",
            hint=Hint(HintKind.UNTRACK, point),
        )


def _is_in_the_way(entry: TreeEntry, point: str) -> bool:
    """Return True if a path is the link point, below it, or a file where a directory above it must be."""
    above = point.startswith(f"{entry.path}/") and not entry.is_submodule
    return above or entry.path == point or entry.path.startswith(f"{point}/")


def _is_placeholder(app: App, point: str, entry: TreeEntry) -> bool:
    inside = entry.path[len(point) + 1 :]
    return point in app.shared.directories and not entry.is_link and inside in _PLACEHOLDERS


def reject_escaping_links(release: Path, entries: list[TreeEntry]) -> None:
    """Raise CommitRefused if a commit has a link that leaves its own tree, directly or through other links."""
    root = os.path.realpath(release)
    for entry in (entry for entry in entries if entry.is_link):
        target = os.readlink(release / entry.path)
        end = os.path.realpath(release / entry.path)
        if Path(target).is_absolute() or not f"{end}/".startswith(f"{root}/"):
            raise CommitRefused(f"the commit contains a link that leads out of it: {entry.path} -> {target}")


def write_revision(release: Path, commit: str) -> None:
    """Write the commit into a release, in place of a file of the repository's."""
    path = release / REVISION
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_text(f"{commit}\n", encoding="utf-8")


def link_shared(app: App, release: Path) -> None:
    """Link the shared files and directories into a release. Raises DeployError if a file is missing."""
    for name in app.shared.files:
        source = app.shared_root / name
        if not source.is_file():
            raise DeployError(
                f"the shared file {name} is missing",
                hint=LogOnlyHint(f"install -D -m 0640 /dev/stdin {source}"),
            )
        _link(source, release / name)
    for name in app.shared.directories:
        source = app.data_root / name
        _make_data_directory(app, source)
        _link(source, release / name)


def _make_data_directory(app: App, path: Path) -> None:
    """Make a directory that the app may write to, unless it exists. Raises DeployError."""
    if path.is_dir():
        return
    try:
        path.mkdir(parents=True)
    except PermissionError:
        user, group = app.ownership.user, app.ownership.group
        raise DeployError(
            f"the directory {path} is missing, and the worker may not make it",
            hint=LogOnlyHint(f"sudo install -d -o {user} -g {group} -m 2770 {path}"),
        ) from None
    enforce(path, writable_policy(app.ownership), recursive=False)


def _link(source: Path, point: Path) -> None:
    """Link to `source`. Only placeholders can be at the point, because other files were rejected before."""
    if point.is_dir() and not point.is_symlink():
        shutil.rmtree(point)
    point.parent.mkdir(parents=True, exist_ok=True)
    point.symlink_to(source)
