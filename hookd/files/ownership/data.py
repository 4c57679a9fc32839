"""The audit of an app's data, and its repair by root: the app must be able to change each file and directory.

Files that the app can change keep their owner, group and mode, whoever made them.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from hookd.files.ownership.attributes import FileAttributes, has_acl
from hookd.files.ownership.policies import Policy
from hookd.files.ownership.repair import AttributeMismatch, Repairer
from hookd.files.safe_open import (
    PATH_FLAGS,
    Directory,
    Unauditable,
    closing_descriptor,
    descriptor_path,
    open_path,
    walk,
)

_READ_AND_WRITE: Final = 0o600
_READ_WRITE_AND_ENTER: Final = 0o700


def audit_data(
    path: Path, policy: Policy, deployers: frozenset[int], *, repairs: bool = False
) -> Iterator[AttributeMismatch | Unauditable]:
    """Audit all below a data directory, and repair it with `repairs` as far as this user may.

    `policy` names the app's user and group. Files of `deployers` are leftovers of older deployments, also those that
    the app can write today.
    """
    try:
        opened = open_path(path)
    except OSError:
        return  # The audit of the directory itself reports it.
    with opened as top:
        if S_ISDIR(os.fstat(top).st_mode):
            auditor = _DataAuditor(policy, deployers, repairs=repairs)
            for found in walk(str(path), top):
                # Another disk below the data is an operator's choice.
                if isinstance(found, Directory):
                    yield from auditor.directory(found, is_top=found.path == str(path))
                elif found.kind != "device":
                    yield found


class _DataAuditor:
    """The audit of an app's data with the rights of this process."""

    def __init__(self, policy: Policy, deployers: frozenset[int], *, repairs: bool) -> None:
        user = pwd.getpwuid(policy.owner or 0)
        self._user = user.pw_uid
        self._group = policy.group
        self._groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
        self._deployers = deployers - {self._user}
        self._repairer = Repairer(repairs=repairs, assigns_owner=True)

    def directory(self, directory: Directory, *, is_top: bool) -> Iterator[AttributeMismatch]:
        """Audit a directory, whose own policy is another one at the top, and the files in it."""
        if not is_top:
            yield from self._one(directory.path, directory.descriptor)
        for name in directory.names:
            with suppress(OSError):  # Removed meanwhile, or not accessible.
                if self._is_wrong(os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)):
                    with closing_descriptor(os.open(name, PATH_FLAGS, dir_fd=directory.descriptor)) as descriptor:
                        yield from self._one(f"{directory.path}/{name}", descriptor)

    def _one(self, path: str, descriptor: int) -> Iterator[AttributeMismatch]:
        status = os.fstat(descriptor)
        if not self._is_wrong(status):
            return
        # An ACL may let the app write, but not give a deployer's file away.
        if status.st_uid not in self._deployers and has_acl(descriptor_path(descriptor), follow=True):
            return
        mismatch = self._repairer.mismatch(path, descriptor, status, self._wanted(status))
        if mismatch is not None:
            yield mismatch

    def _is_wrong(self, status: os.stat_result) -> bool:
        """Return True for a deployer's file, and for one that the app can neither write nor make writable.

        Special files and links have no content.
        """
        mode = status.st_mode
        if status.st_uid == self._user or not (S_ISREG(mode) or S_ISDIR(mode)):
            return False
        needed = 0o3 if S_ISDIR(mode) else 0o2
        granted = mode >> 3 if status.st_gid in self._groups else mode
        return status.st_uid in self._deployers or granted & needed != needed

    def _wanted(self, status: os.stat_result) -> FileAttributes:
        """Return the app's user and group, and the found mode with the owner's rights but without set-id bits."""
        mode = status.st_mode
        kept = mode & 0o7777 | _READ_WRITE_AND_ENTER if S_ISDIR(mode) else mode & 0o777 | _READ_AND_WRITE
        return FileAttributes(self._user, status.st_gid if self._group is None else self._group, kept)
