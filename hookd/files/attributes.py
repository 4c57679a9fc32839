"""How a file or directory looks to a policy: whose it is, its mode and its ACLs; read through a descriptor."""

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
    """Owner, group, mode, and the ACLs if there are any: the one in force, and a directory's for what is new in it."""

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
    """See how what a descriptor refers to looks; its ACLs only when they matter."""
    mode = found.st_mode & 0o7777
    if not acls:
        return FileAttributes(found.st_uid, found.st_gid, mode)
    path = descriptor_path(descriptor)
    return FileAttributes(found.st_uid, found.st_gid, mode, read_acl(path, acl.ACCESS), read_acl(path, acl.DEFAULT))


def read_acl(path: str, name: str, *, follow: bool = True) -> bytes | None:
    """Read one ACL; None when there is none, as on a file system that keeps none."""
    try:
        return os.getxattr(path, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_ACL:
            return None
        raise


def has_acl(path: str) -> bool:
    """Tell whether a path itself, not what it leads to, has an ACL; asks without the cost of an exception."""
    try:
        return acl.ACCESS in os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ACL:
            return False
        raise


def supports_acls(descriptor: int) -> bool:
    """Tell whether the file system of a descriptor can keep ACLs."""
    try:
        os.getxattr(descriptor_path(descriptor), acl.ACCESS)
    except OSError as error:
        return error.errno != errno.EOPNOTSUPP
    return True


def set_attributes(descriptor: int, found: FileAttributes, wanted: FileAttributes) -> None:
    """Change only what differs; raises OSError. The owner first: a change of owner takes set-id bits away."""
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
    """Change a mode. In a unit with RestrictSUIDSGID= nobody may say "set-group-id", even where it is set already.

    There the other bits are set as an ACL that says no more than a mode does: the kernel keeps it as the mode.
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
    """Name a user, by number if it has no name."""
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def group_name(number: int) -> str:
    """Name a group, by number if it has no name."""
    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
