"""The links of an app: to shared files inside a release, and to the release that serves."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hookd.files.safe_open import sync_directory
from hookd.model.app import App
from hookd.model.hint import Hint, HintKind, LogOnlyHint
from worker.errors import CommitRefused, DeployError
from worker.release.git_mirror import TreeEntry
from worker.release.ownership import enforce, writable_policy

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


def switch_link(link: Path, release: Path, *, since: float | None = None) -> None:
    """Make a link point at a release atomically, and wait until that is on disk.

    The modification time of a link tells since when it leads there, and so which release a service runs. `since` sets
    another time than now.
    """
    with prepared_link(link, release, since=since):
        pass


@contextmanager
def prepared_link(link: Path, release: Path, *, since: float | None = None) -> Iterator[None]:
    """Make a link point at a release at the end of the block, unless the block raises.

    Everything that needs disk space is done before the block, so a full disk cannot stop the switch.
    """
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    temporary.symlink_to(os.path.relpath(release, link.parent))
    try:
        if since is not None:
            os.utime(temporary, (since, since), follow_symlinks=False)
        yield
        os.replace(temporary, link)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(link.parent)


def link_changed_at(link: Path) -> float | None:
    """Return the time of a link's last change in seconds since 1970, or None for a missing link."""
    try:
        return link.lstat().st_mtime
    except FileNotFoundError:
        return None


def links_to(link: Path, release: Path) -> bool:
    """Return True if a link ends at a release."""
    return os.path.realpath(link) == os.path.realpath(release)
