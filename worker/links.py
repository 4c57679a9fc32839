"""Links that say which release serves: switched in one step, and on disk before the next thing happens."""

import os
import secrets
from pathlib import Path


def point(link: Path, release: Path, *, since: float | None = None) -> None:
    """Make a link point at a release in one step, and wait until that is on disk.

    Its time says since when it leads there, and so which release a service runs; `since` is another time than now.
    """
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    temporary.symlink_to(os.path.relpath(release, link.parent))
    if since is not None:
        os.utime(temporary, (since, since), follow_symlinks=False)
    os.replace(temporary, link)
    sync_directory(link.parent)


def pointed_at(link: Path) -> float | None:
    """Tell since when a link leads where it does, in seconds since 1970; None when there is no link."""
    try:
        return link.lstat().st_mtime
    except FileNotFoundError:
        return None


def leads_to(link: Path, release: Path) -> bool:
    """Tell whether a link ends at a release."""
    return os.path.realpath(link) == os.path.realpath(release)


def sync_directory(directory: Path) -> None:
    """Wait until the entries of a directory are on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
