"""Start an environment with the files of an earlier one: each file is a second name of the same inode.

No build can change them: their owner is the worker, a build owns only the directories, and no file has a write bit.
A build may have put links into the earlier one, so each directory is opened by descriptor and no link is followed.
"""

import errno
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from stat import S_ISREG
from typing import Final

from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.safe_open import closing_descriptor
from worker.environment.commands import CONSTRAINTS, PACKAGES

# What belongs to one environment alone.
_OWN: Final = frozenset({COMPLETE_MARK, PACKAGES, CONSTRAINTS, ".lock"})
_BYTECODE: Final = re.compile(r"lib/python3[^/]*/site-packages/__pycache__")
# Directories of each environment, in the order in which one leads to the next.
_PLACES: Final = ("bin", "lib", "lib/python3*", "lib/python3*/site-packages")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_MARK: Final = 200
# Above the size of any script that an installer writes.
_MAX_SCRIPT: Final = 1024 * 1024


def find_base(venvs: Path, family: str) -> Path | None:
    """Return the newest complete environment of a family, or None."""
    found = []
    for venv in venvs.iterdir():
        mark = venv / COMPLETE_MARK
        if _read_family(venv) == family:
            found.append((mark.lstat().st_mtime_ns, venv))
    return max(found)[1] if found else None


def _read_family(venv: Path) -> str | None:
    """Return the family of a complete environment, or None if it is not complete."""
    try:
        with os.fdopen(os.open(venv / COMPLETE_MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_MAX_MARK).decode("ascii", "replace")
    except OSError:
        return None


def find_link(venv: Path) -> Path | None:
    """Return a link in the place of a directory that each environment has, or None."""
    return next((path for place in _PLACES for path in venv.glob(place) if path.is_symlink()), None)


def link_environment(base: Path, venv: Path) -> None:
    """Link the files of an environment into an empty directory, which only the worker may write. Raises OSError.

    Programs in `bin` name their environment, so they are copied with the new name. Bytecode of modules outside of a
    package is compiled again, because uv leaves it there when it removes its module.
    """
    if link := find_link(base):
        raise OSError(errno.ELOOP, f"{link.relative_to(base)} is a link")
    with _opened(base) as source, _opened(venv) as target:
        _Linking(os.fsencode(base), os.fsencode(venv)).directory("", source, target)
        with _opened("bin", target):  # A build may have removed it.
            pass


class _Linking:
    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new

    def directory(self, place: str, source: int, target: int) -> None:
        """Link what lies in an open directory. `place` is its path in the environment, with a slash at its end."""
        with os.scandir(source) as entries:
            for entry in entries:
                path = f"{place}{entry.name}"
                if path in _OWN or _BYTECODE.fullmatch(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(entry.name, dir_fd=target)
                    with _opened(entry.name, source) as inner, _opened(entry.name, target) as made:
                        self.directory(f"{path}/", inner, made)
                elif place != "bin/" or not self._copied(entry.name, source, target):
                    os.link(entry.name, entry.name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)

    def _copied(self, name: str, source: int, target: int) -> bool:
        """Copy a program that names its environment, and return False for any other file."""
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if not S_ISREG(found.st_mode) or found.st_size > _MAX_SCRIPT:
            return False
        with os.fdopen(os.open(name, _READ, dir_fd=source), "rb") as file:
            content = file.read(_MAX_SCRIPT)
        if self._old not in content or b"\0" in content:
            return False
        with os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=target), "wb") as file:
            file.write(content.replace(self._old, self._new))
            os.fchmod(file.fileno(), found.st_mode & 0o777)
        return True


def _opened(name: Path | str, directory: int | None = None) -> AbstractContextManager[int]:
    return closing_descriptor(os.open(name, _DIRECTORY, dir_fd=directory))
