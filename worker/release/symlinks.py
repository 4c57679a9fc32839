"""Links that say which release serves: switched in one step, and on disk before the next thing happens."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hookd.files.safe_open import sync_directory
from worker.process.run import Command


def switch_link(link: Path, release: Path, *, since: float | None = None) -> None:
    """Make a link point at a release in one step, and wait until that is on disk.

    Its time says since when it leads there, and so which release a service runs; `since` is another time than now.
    """
    with prepared_link(link, release, since=since):
        pass


@contextmanager
def prepared_link(link: Path, release: Path, *, since: float | None = None) -> Iterator[None]:
    """Make a link point at a release at the end of the block, unless that raises; what needs room is done before it."""
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
    """Tell since when a link leads where it does, in seconds since 1970; None when there is no link."""
    try:
        return link.lstat().st_mtime
    except FileNotFoundError:
        return None


def links_to(link: Path, release: Path) -> bool:
    """Tell whether a link ends at a release."""
    return os.path.realpath(link) == os.path.realpath(release)


def flush_command(directory: Path) -> Command:
    """Write the file system of a directory to disk, so that a power cut after the switch finds whole files."""
    return Command(("sync", "--file-system", str(directory)), 300, 300, env={"PATH": "/usr/bin:/bin"})
