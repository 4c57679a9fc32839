"""Reads and writes files as root, by descriptors, and through no link of another user.

Directories such as /srv/shop belong to the worker's user, who must not lead root elsewhere. So each part of a path is
opened by itself, and only links that root alone can make are followed.
"""

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.files.safe_open import MAX_FILE_BYTES, UntrustedLink, open_directory

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class UnsafePath(Exception):
    """A path leads through a link of another user, or to a file that is too large."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


def inspect_command(path: Path) -> str:
    """Return the command that shows each part of a path with its owner and mode."""
    return f"sudo namei -lx {shlex.quote(str(path))}"


@dataclass(frozen=True)
class Owner:
    """User, group and mode of a file."""

    uid: int
    gid: int
    mode: int

    def fits(self, found: os.stat_result) -> bool:
        return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (self.uid, self.gid, self.mode)


SECRET: Final = Owner(0, 0, 0o600)
PUBLIC: Final = Owner(0, 0, 0o644)
CLOSED: Final = Owner(0, 0, 0o700)


@contextmanager
def open_parent(directory: Path) -> Iterator[int]:
    """Open a directory part by part. Raises UnsafePath, OSError."""
    with ExitStack() as held:
        try:
            descriptor = held.enter_context(open_directory(directory))
        except UntrustedLink as error:
            raise UnsafePath(directory, str(error.strerror)) from None
        yield descriptor


def status(path: Path) -> os.stat_result | None:
    """Return the status of a path without following a link, or None."""
    with suppress(FileNotFoundError), open_parent(path.parent) as parent:
        return os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    return None


def read(path: Path) -> bytes | None:
    """Return the content of a regular file, or None. Raises UnsafePath for more than MAX_FILE_BYTES."""
    with suppress(OSError), open_parent(path.parent) as parent:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            if len(content := file.read(MAX_FILE_BYTES + 1)) > MAX_FILE_BYTES:
                raise UnsafePath(path, f"it holds more than {MAX_FILE_BYTES} bytes")
            return content
    return None


def write(path: Path, content: bytes, owner: Owner, check: Callable[[str], object] = bool) -> None:
    """Replace a file atomically, with owner and mode.

    `check` gets the path of the new file first, and raises for a bad one.
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
    """Return the name of a new file, and remove the one that an interrupted process left."""
    aside = f".{name}.hookd-new"
    with suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=parent)
    return aside


def make_directory(path: Path, owner: Owner) -> None:
    """Make a directory, or correct an existing one's owner, group and mode."""
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
    """Return a link's target, or None."""
    with suppress(OSError), open_parent(path.parent) as parent:
        return Path(os.readlink(path.name, dir_fd=parent))
    return None


def link(path: Path, target: Path) -> None:
    """Make a link, and replace a file or link at its path."""
    with open_parent(path.parent) as parent:
        aside = _temporary_name(parent, path.name)
        os.symlink(target, aside, dir_fd=parent)
        os.replace(aside, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)


def remove(path: Path) -> None:
    """Remove a file or link, if it exists."""
    with suppress(FileNotFoundError), open_parent(path.parent) as parent:
        _temporary_name(parent, path.name)
        os.unlink(path.name, dir_fd=parent)
        os.fsync(parent)


def remove_empty(path: Path) -> bool:
    """Remove an empty directory. Return True if it no longer exists."""
    try:
        with open_parent(path.parent) as parent:
            os.rmdir(path.name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
