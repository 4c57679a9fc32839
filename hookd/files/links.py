"""The links of an app that lead to a release, changed atomically."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookd.files.safe_open import sync_directory


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
