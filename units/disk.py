"""Root's hands on the disk: reads and writes by descriptors, and never through a link that somebody else may have put.

Directories such as /srv/shop belong to the worker's user. Whoever controls that user must not be able to lead root
elsewhere, so every part of a path is opened by itself, and links are only followed where root alone could make them.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_LINKS: Final = 8


class UnsafePath(Exception):
    """A path leads through something that is not root's."""


@dataclass(frozen=True)
class Owner:
    """Numbers of a user and a group, and the mode that goes with them."""

    uid: int
    gid: int
    mode: int

    def fits(self, found: os.stat_result) -> bool:
        """Tell whether owner, group and mode are these."""
        return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (self.uid, self.gid, self.mode)


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Open a directory part by part; raises UnsafePath, and OSError when it is not there."""
    descriptor = _open(directory, _LINKS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(directory: Path, links: int) -> int:
    descriptor = os.open("/", _DIRECTORY)
    for number, part in enumerate(directory.parts[1:], start=1):
        try:
            following = os.open(part, _DIRECTORY, dir_fd=descriptor)
        except NotADirectoryError:
            target = _trusted_link(descriptor, part, directory, links)
            os.close(descriptor)
            above, below = directory.parts[:number], directory.parts[number + 1 :]
            return _open(Path(*above, target, *below), links - 1)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        descriptor = following
    return descriptor


def _trusted_link(parent: int, name: str, whole: Path, links: int) -> Path:
    """Read a link that only root can have made (/srv may lead to a larger disk); raises UnsafePath for any other."""
    found, place = os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(parent)
    roots_own = found.st_uid == 0 and place.st_uid == 0 and not place.st_mode & 0o022
    if not (stat.S_ISLNK(found.st_mode) and roots_own and links):
        raise UnsafePath(f"{whole}: {name} is not a directory, or a link that somebody else may have put there")
    target = Path(os.readlink(name, dir_fd=parent))
    if ".." in target.parts:
        raise UnsafePath(f"{whole}: the link {name} leads to {target}; make it absolute")
    return target


def status(path: Path) -> os.stat_result | None:
    """Look at what stands at a path itself, not behind a link; None when there is nothing."""
    with suppress(FileNotFoundError), opened(path.parent) as parent:
        return os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    return None


def read(path: Path) -> bytes | None:
    """Read a file; None when there is none, or something else stands there."""
    with suppress(OSError), opened(path.parent) as parent:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(descriptor, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    return None


def write(path: Path, content: bytes, owner: Owner, check: Callable[[str], object] = bool) -> None:
    """Replace a file as a whole: nobody ever sees half of it, or the new text with the old mode.

    `check` is given the path of the new file before it takes the old one's place, and raises if it is no good.
    """
    with opened(path.parent) as parent:
        aside = _aside(parent, path.name)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchown(descriptor, owner.uid, owner.gid)
                os.fchmod(descriptor, owner.mode)
                file.flush()
                os.fsync(descriptor)
            check(f"/proc/{os.getpid()}/fd/{parent}/{aside}")
            os.replace(aside, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(aside, dir_fd=parent)
            raise
        os.fsync(parent)


def _aside(parent: int, name: str) -> str:
    """Name the new file beside the old one. One that was left there by a process that was killed goes first."""
    aside = f".{name}.hookd-new"
    with suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=parent)
    return aside


def make_directory(path: Path, owner: Owner) -> None:
    """Make a directory, or give the one that is there the right owner, group and mode."""
    with opened(path.parent) as parent:
        with suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
        descriptor = os.open(path.name, _DIRECTORY, dir_fd=parent)
        try:
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, owner.mode)
        finally:
            os.close(descriptor)


def read_link(path: Path) -> Path | None:
    """Read where a link leads; None when no link stands there."""
    with suppress(OSError), opened(path.parent) as parent:
        return Path(os.readlink(path.name, dir_fd=parent))
    return None


def link(path: Path, target: Path) -> None:
    """Put a link in the place of whatever file or link stands there."""
    with opened(path.parent) as parent:
        aside = _aside(parent, path.name)
        os.symlink(target, aside, dir_fd=parent)
        os.replace(aside, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)


def remove(path: Path) -> None:
    """Remove a file or a link; one that is gone is no failure."""
    with suppress(FileNotFoundError), opened(path.parent) as parent:
        _aside(parent, path.name)
        os.unlink(path.name, dir_fd=parent)
        os.fsync(parent)


def remove_empty(path: Path) -> bool:
    """Remove a directory if nothing is in it; tells whether it is gone."""
    try:
        with opened(path.parent) as parent:
            os.rmdir(path.name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
