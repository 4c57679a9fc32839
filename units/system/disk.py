"""Root's hands on the disk: reads and writes by descriptors, and never through a link that somebody else may have put.

Directories such as /srv/shop belong to the worker's user. Whoever controls that user must not be able to lead root
elsewhere, so every part of a path is opened by itself, and links are only followed where root alone could make them.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.files.safe_open import MAX_FILE_BYTES, UntrustedLink, open_directory

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


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


SECRET: Final = Owner(0, 0, 0o600)
PUBLIC: Final = Owner(0, 0, 0o644)
CLOSED: Final = Owner(0, 0, 0o700)


@contextmanager
def open_parent(directory: Path) -> Iterator[int]:
    """Open a directory part by part; raises UnsafePath, and OSError when it is not there."""
    with ExitStack() as held:
        try:
            descriptor = held.enter_context(open_directory(directory))
        except UntrustedLink as error:
            raise UnsafePath(f"{directory}: {error.strerror}") from None
        yield descriptor


def status(path: Path) -> os.stat_result | None:
    """Look at what stands at a path itself, not behind a link; None when there is nothing."""
    with suppress(FileNotFoundError), open_parent(path.parent) as parent:
        return os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    return None


def read(path: Path, most: int = MAX_FILE_BYTES) -> bytes | None:
    """Read a file; None when there is none, or something else stands there. Raises UnsafePath for a longer one."""
    with suppress(OSError), open_parent(path.parent) as parent:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            if len(content := file.read(most + 1)) > most:
                raise UnsafePath(f"{path}: it holds more than {most} bytes")
            return content
    return None


def write(path: Path, content: bytes, owner: Owner, check: Callable[[str], object] = bool) -> None:
    """Replace a file as a whole: nobody ever sees half of it, or the new text with the old mode.

    `check` is given the path of the new file before it takes the old one's place, and raises if it is no good.
    """
    with open_parent(path.parent) as parent:
        aside = _temporary_name(parent, path.name)
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


def _temporary_name(parent: int, name: str) -> str:
    """Name the new file beside the old one. One that was left there by a process that was killed goes first."""
    aside = f".{name}.hookd-new"
    with suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=parent)
    return aside


def make_directory(path: Path, owner: Owner) -> None:
    """Make a directory, or give the one that is there the right owner, group and mode."""
    with open_parent(path.parent) as parent:
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
    with suppress(OSError), open_parent(path.parent) as parent:
        return Path(os.readlink(path.name, dir_fd=parent))
    return None


def link(path: Path, target: Path) -> None:
    """Put a link in the place of whatever file or link stands there."""
    with open_parent(path.parent) as parent:
        aside = _temporary_name(parent, path.name)
        os.symlink(target, aside, dir_fd=parent)
        os.replace(aside, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)


def remove(path: Path) -> None:
    """Remove a file or a link; one that is gone is no failure."""
    with suppress(FileNotFoundError), open_parent(path.parent) as parent:
        _temporary_name(parent, path.name)
        os.unlink(path.name, dir_fd=parent)
        os.fsync(parent)


def remove_empty(path: Path) -> bool:
    """Remove a directory if nothing is in it; tells whether it is gone."""
    try:
        with open_parent(path.parent) as parent:
            os.rmdir(path.name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
