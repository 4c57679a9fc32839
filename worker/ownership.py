"""Makes a tree readable for whom it should be: by directory descriptors, never through a link, only where it differs.

The worker needs no root for this: it owns what it made, and may give it to a group it is a member of.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.contract.catalogue import Ownership
from worker.errors import CommitRefused, DeployError

_DEEPEST: Final = 200


@dataclass(frozen=True)
class Policy:
    """Who may read: modes for files, for programs and for directories, and the group, if it is to be another."""

    file_mode: int
    program_mode: int
    directory_mode: int
    group: int | None
    umask: int


def policy_of(ownership: Ownership) -> Policy:
    """Work out a policy; raises DeployError when its group does not exist or the worker is not in it."""
    if ownership.policy == "split":
        return Policy(0o644, 0o755, 0o755, None, 0o022)
    return Policy(0o640, 0o750, 0o2750, _group(ownership.group), 0o027)


def _group(name: str) -> int:
    try:
        group = grp.getgrnam(name).gr_gid
    except KeyError:
        raise DeployError(f"the group {name} does not exist", hint=f"sudo groupadd --system {name}") from None
    if os.geteuid() != 0 and group not in {os.getegid(), *os.getgroups()}:
        raise DeployError(
            f"the worker is not a member of the group {name}, so it cannot give files to it",
            hint=f"sudo usermod --append --groups {name} {pwd.getpwuid(os.geteuid()).pw_name}, then restart the worker",
        )
    return group


def enforce(tree: Path, policy: Policy) -> int:
    """Give every file and directory of a tree the policy's group and mode; returns how many were not right.

    Raises CommitRefused for what is neither file, directory nor link, and DeployError for what is not the worker's own.
    """
    changed = 0
    with _opened(str(tree), None) as top:
        for path, names, directory in _directories(str(tree), top):
            changed += _set(directory, path, policy.directory_mode, policy.group)
            for name in names:
                changed += _enforce_file(path, name, directory, policy)
    return changed


def enforce_directory(directory: Path, policy: Policy) -> None:
    """Give one directory, not what is in it, the policy's group and mode; raises DeployError."""
    with _opened(str(directory), None) as descriptor:
        _set(descriptor, str(directory), policy.directory_mode, policy.group)


def _directories(path: str, directory: int, level: int = 0) -> Iterator[tuple[str, list[str], int]]:
    """Walk a tree. Not os.fwalk: that opens what a link points at, and fails where the worker may not read it."""
    if level > _DEEPEST:
        raise CommitRefused(f"the release holds a path of more than {_DEEPEST} levels")
    with os.scandir(directory) as found:
        inside = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
    yield path, [name for name, is_directory in inside.items() if not is_directory], directory
    for name in (name for name, is_directory in inside.items() if is_directory):
        with _opened(name, directory, path) as child:
            yield from _directories(f"{path}/{name}", child, level + 1)


@contextmanager
def _opened(name: str, parent: int | None, path: str = "") -> Iterator[int]:
    """Open a directory, never a link to one; raises DeployError."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        raise DeployError(f"{os.path.join(path, name)} cannot be read: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enforce_file(path: str, name: str, directory: int, policy: Policy) -> int:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise CommitRefused(f"{path}/{name} is neither a file, a directory nor a link")
    mode = policy.program_mode if found.st_mode & stat.S_IXUSR else policy.file_mode
    if _fits(found, mode, policy.group):
        return 0
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        return _set(descriptor, f"{path}/{name}", mode, policy.group)
    finally:
        os.close(descriptor)


def _fits(found: os.stat_result, mode: int, group: int | None) -> bool:
    return stat.S_IMODE(found.st_mode) == mode and group in (None, found.st_gid)


def _set(descriptor: int, path: str, mode: int, group: int | None) -> int:
    """Set group and mode of what a descriptor refers to, through /proc: O_PATH takes no fchmod."""
    found = os.fstat(descriptor)
    if _fits(found, mode, group):
        return 0
    if found.st_uid != os.geteuid() or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1):
        raise DeployError(f"{path} belongs to someone else or has a second name, so its mode is not changed")
    itself = f"/proc/self/fd/{descriptor}"
    if group is not None and found.st_gid != group:
        os.chown(itself, -1, group)  # First, since it may take away set-id bits.
    os.chmod(itself, mode)
    return 1
