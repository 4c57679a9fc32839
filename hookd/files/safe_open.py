"""Opening of paths and walking of trees by directory descriptors, so that a swapped link leads nowhere else.

Root starts Python for each build, and pathlib and typing would take half of that time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from stat import S_ISLNK, S_ISREG

from hookd.model.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO, Literal

    UnauditableKind = Literal["special", "deep", "unreadable", "missing", "device", "link"]

PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK the opening of a pipe would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Above the size of any log, journal or key that hookd writes.
MAX_FILE_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 200
_MAX_LINKS = 8

_TEXTS: dict[UnauditableKind, str] = {
    "special": "is neither a file, a directory nor a link: remove it",
    "deep": f"lies more than {_MAX_DEPTH} levels deep: remove it",
    "unreadable": "cannot be read",
    "missing": "is missing",
    "device": "is on another file system and left alone",
    "link": "cannot be read: it is a link",
}


class Unauditable:
    """A path to which no policy applies, and why. `is_repairable` means that root can read and repair it."""

    def __init__(
        self, path: str, kind: UnauditableKind, reason: str | None = None, *, is_repairable: bool = False
    ) -> None:
        self.path, self.kind, self.reason, self.is_repairable = path, kind, reason, is_repairable

    def __str__(self) -> str:
        text = f"{printable(self.path)} {_TEXTS[self.kind]}"
        return f"{text}: {self.reason}" if self.reason else text


def unreadable(path: str, error: OSError) -> Unauditable:
    """Return the finding for a path that this user cannot open."""
    is_denied = error.errno == errno.EACCES and os.geteuid() != 0
    return Unauditable(path, "unreadable", error.strerror, is_repairable=is_denied)


class Directory:
    """An open directory of a tree, and its names that are not directories."""

    def __init__(self, path: str, descriptor: int, names: list[str]) -> None:
        self.path, self.descriptor, self.names = path, descriptor, names


def descriptor_path(descriptor: int) -> str:
    """Return a path to a descriptor's file, for calls that take no descriptor opened with O_PATH."""
    return f"/proc/self/fd/{descriptor}"


class UntrustedLink(OSError):
    """A link on the way is not root's alone, or one too many."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.ELOOP, why)


def open_path(path: Path | str) -> AbstractContextManager[int]:
    """Open a path, or a link itself, with O_PATH. Raises OSError.

    Root opens each part of the path and follows only root's own links on the way. Other users reach nothing through a
    link that its maker cannot reach.
    """
    is_root = os.geteuid() == 0
    return closing_descriptor(_open_stepwise(path, to_the_end=False) if is_root else os.open(path, PATH_FLAGS))


@contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """Open a directory to read, part by part for every user, also behind a last link.

    Raises OSError and UntrustedLink.
    """
    with (
        closing_descriptor(_open_stepwise(path, to_the_end=True)) as held,
        closing_descriptor(os.open(descriptor_path(held), _DIRECTORY)) as descriptor,
    ):
        yield descriptor


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_stepwise(path: Path | str, *, to_the_end: bool) -> int:
    """Open a path part by part. `to_the_end` also follows a link that is the last part."""
    at, links = os.open("/", PATH_FLAGS), 0
    steps = _parts(path)
    try:
        while steps:
            name = steps.pop()
            on_the_way = bool(steps) or to_the_end
            target = _trusted_link_target(at, name) if on_the_way else None
            if target is None:
                at = _step_into(at, os.open(name, PATH_FLAGS, dir_fd=at))
                if on_the_way and S_ISLNK(os.fstat(at).st_mode):
                    raise UntrustedLink(f"{name} is a link that others than root can change")
                continue
            links += 1
            if links > _MAX_LINKS:
                raise UntrustedLink(f"more than {_MAX_LINKS} links lead there")
            if target.startswith("/"):
                at = _step_into(at, os.open("/", PATH_FLAGS))
            steps += _parts(target)
    except BaseException:
        os.close(at)
        raise
    return at


def _parts(path: Path | str) -> list[str]:
    """Return the names of a path, the last one first."""
    return [part for part in reversed(str(path).split("/")) if part not in ("", ".")]


def _step_into(before: int, after: int) -> int:
    os.close(before)
    return after


def _trusted_link_target(directory: int, name: str) -> str | None:
    """Return the target of root's link in a directory that only root writes (/srv may lead to a larger disk).

    Any other name gives None. A target with `..` raises UntrustedLink.
    """
    place = os.fstat(directory)
    if place.st_uid != 0 or place.st_mode & 0o022:
        return None
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if found.st_uid != 0 or not S_ISLNK(found.st_mode):
        return None
    target = os.readlink(name, dir_fd=directory)
    if ".." in target.split("/"):
        raise UntrustedLink(f"the link {name} leads to {target}, which holds ..")
    return target


def walk(path: str, top: int) -> Iterator[Directory | Unauditable]:
    """Walk the tree below an open directory on its own file system."""
    yield from _below(path, lambda: os.open(descriptor_path(top), _DIRECTORY), os.fstat(top).st_dev, 0)


def _below(path: str, open_it: Callable[[], int], device: int, level: int) -> Iterator[Directory | Unauditable]:
    """Walk a directory. `os.fwalk` would open targets of links, and end at an unreadable directory."""
    if level > _MAX_DEPTH:
        yield Unauditable(f"{path[:200]}…", "deep")
        return
    try:
        descriptor = open_it()
    except FileNotFoundError:
        return  # Removed since its directory was read.
    except OSError as error:
        yield unreadable(path, error)
        return
    with closing_descriptor(descriptor):
        if os.fstat(descriptor).st_dev != device:
            yield Unauditable(path, "device")
            return
        with os.scandir(descriptor) as found:
            inside = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
        yield Directory(path, descriptor, [name for name, is_directory in inside.items() if not is_directory])
        for child in (name for name, is_directory in inside.items() if is_directory):
            open_child = partial(os.open, child, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            yield from _below(f"{path}/{child}", open_child, device, level + 1)


def sync_directory(directory: Path) -> None:
    """Wait until the entries of a directory are on disk. Raises OSError."""
    with closing_descriptor(os.open(directory, _DIRECTORY)) as descriptor:
        os.fsync(descriptor)


def open_regular_file(path: Path) -> BinaryIO:
    """Open a regular file of at most MAX_FILE_BYTES, which may grow while it is read.

    Neither the file nor its directory may be a link. Raises OSError.
    """
    with open_path(path.parent) as directory:
        descriptor = os.open(path.name, _FILE, dir_fd=directory)
    found = os.fstat(descriptor)
    if S_ISREG(found.st_mode) and found.st_size <= MAX_FILE_BYTES:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    limit = f"{MAX_FILE_BYTES >> 20} MiB"
    raise OSError(errno.EINVAL, f"it is not a regular file of at most {limit}", str(path))
