"""Finds what lies in a directory of the app's own and cannot be written by the app: it is named, never changed."""

import os
import pwd
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from hookd.store.rights import Rights, has_acl
from hookd.store.tree import Directory, Odd, itself, opened, shown, walk


@dataclass(frozen=True)
class Foreign:
    """A file or directory of someone else's that the app cannot write."""

    path: str
    found: Rights
    user: str

    def __str__(self) -> str:
        return f"{shown(self.path)} is {self.found}: {self.user} cannot write it"


def foreign(path: Path, user: pwd.struct_passwd) -> Iterator[Foreign | Odd]:
    """Walk a directory and name what `user` can neither write nor make writable."""
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    with ExitStack() as held:
        try:
            top = held.enter_context(opened(path))
        except OSError:
            return  # What is wrong with the directory itself is said by its policy.
        if not S_ISDIR(os.fstat(top).st_mode):
            return
        for found in walk(str(path), top):
            if isinstance(found, Odd):
                yield found
                continue
            for name, status in _inside(found):
                place = f"{itself(found.descriptor)}/{name}"
                if not (_may_write(status, user.pw_uid, groups) or has_acl(place)):
                    look = Rights(status.st_uid, status.st_gid, S_IMODE(status.st_mode))
                    yield Foreign(os.path.normpath(f"{found.path}/{name}"), look, user.pw_name)


def _inside(directory: Directory) -> Iterator[tuple[str, os.stat_result]]:
    """The directory itself, and the files in it."""
    for name in (".", *directory.names):
        with suppress(OSError):  # Removed meanwhile, or nobody may enter.
            yield name, os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)


def _may_write(status: os.stat_result, user: int, groups: set[int]) -> bool:
    """Tell whether a user may write; what is neither file nor directory has no content to write."""
    mode = status.st_mode
    if status.st_uid == user or S_ISLNK(mode) or not (S_ISREG(mode) or S_ISDIR(mode)):
        return True
    needed = 0o3 if S_ISDIR(mode) else 0o2
    granted = mode >> 3 if status.st_gid in groups else mode
    return granted & needed == needed
