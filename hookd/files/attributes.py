"""Owner, group, mode and ACLs of a file, read and set through a descriptor."""

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hookd.files import acl
from hookd.files.safe_open import descriptor_path

_NO_ACL: Final = frozenset({errno.ENODATA, errno.EOPNOTSUPP})


@dataclass(frozen=True)
class FileAttributes:
    """Owner, group, mode, the ACL in force, and a directory's default ACL for new files."""

    owner: int
    group: int
    mode: int
    access: bytes | None = None
    default: bytes | None = None

    def __str__(self) -> str:
        text = f"{user_name(self.owner)}:{group_name(self.group)} {self.mode:04o}"
        if self.access is not None:
            text += f" acl {acl.format_acl(self.access)}"
        return text if self.default is None else f"{text} default acl {acl.format_acl(self.default)}"


def read_attributes(descriptor: int, found: os.stat_result, *, acls: bool) -> FileAttributes:
    """Return the attributes of a descriptor's file, with its ACLs if `acls` is set."""
    mode = found.st_mode & 0o7777
    if not acls:
        return FileAttributes(found.st_uid, found.st_gid, mode)
    path = descriptor_path(descriptor)
    return FileAttributes(found.st_uid, found.st_gid, mode, read_acl(path, acl.ACCESS), read_acl(path, acl.DEFAULT))


def read_acl(path: str, name: str, *, follow: bool = True) -> bytes | None:
    """Return one ACL, or None if the file or the file system has none."""
    try:
        return os.getxattr(path, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_ACL:
            return None
        raise


def has_acl(path: str) -> bool:
    """Return True if the path itself has an ACL. This is faster than the exception in `read_acl`."""
    try:
        return acl.ACCESS in os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ACL:
            return False
        raise


def supports_acls(descriptor: int) -> bool:
    """Return True if the descriptor's file system keeps ACLs."""
    try:
        os.getxattr(descriptor_path(descriptor), acl.ACCESS)
    except OSError as error:
        return error.errno != errno.EOPNOTSUPP
    return True


def set_attributes(descriptor: int, found: FileAttributes, wanted: FileAttributes) -> None:
    """Change the differing attributes, the owner first because a new owner clears set-id bits. Raises OSError."""
    path = descriptor_path(descriptor)
    acls = ((acl.ACCESS, found.access, wanted.access), (acl.DEFAULT, found.default, wanted.default))
    if (found.owner, found.group) != (wanted.owner, wanted.group):
        os.chown(path, _changed_id(found.owner, wanted.owner), _changed_id(found.group, wanted.group))
    for name, before, after in acls:
        if before is not None and after is None:
            os.removexattr(path, name)
    if (now := os.stat(descriptor).st_mode) & 0o7777 != wanted.mode:
        _set_mode(path, now, wanted.mode)
    for name, before, after in acls:
        if after is not None and before != after:
            os.setxattr(path, name, after)


def _set_mode(path: str, now: int, mode: int) -> None:
    """Change a mode, also where RestrictSUIDSGID= forbids every mode with the set-group-id bit.

    There an ACL that equals the mode sets the other bits. The kernel stores it as the mode.
    """
    try:
        os.chmod(path, mode)
    except PermissionError:
        if not now & mode & stat.S_ISGID:
            raise
        os.setxattr(path, acl.ACCESS, acl.mode_acl(mode))


def _changed_id(found: int, wanted: int) -> int:
    return -1 if found == wanted else wanted


def user_name(number: int) -> str:
    """Return a user's name, or its number."""
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def group_name(number: int) -> str:
    """Return a group's name, or its number."""
    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
