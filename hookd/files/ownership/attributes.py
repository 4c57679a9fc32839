"""Owner, group, mode and POSIX ACLs of a file, read and set through a descriptor.

An ACL is the bytes of an extended attribute (linux/posix_acl_xattr.h): a version, then entries of tag, permissions and
id, in the order of tags and ids.
"""

import errno
import grp
import os
import pwd
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from hookd.files.safe_open import descriptor_path

ACCESS_ACL: Final = "system.posix_acl_access"
DEFAULT_ACL: Final = "system.posix_acl_default"
_NO_ACL: Final = frozenset({errno.ENODATA, errno.EOPNOTSUPP})
_VERSION: Final = 2
_NO_ID: Final = 0xFFFFFFFF
_OWNER, _USER, _GROUP, _NAMED_GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMES: Final = {_OWNER: "user", _USER: "user", _GROUP: "group", _NAMED_GROUP: "group", _MASK: "mask", _OTHER: "other"}
_READ_AND_ENTER: Final = 0o5
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")


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
            text += f" acl {format_acl(self.access)}"
        return text if self.default is None else f"{text} default acl {format_acl(self.default)}"


def read_attributes(descriptor: int, found: os.stat_result, *, acls: bool) -> FileAttributes:
    """Return the attributes of a descriptor's file, with its ACLs if `acls` is set."""
    mode = found.st_mode & 0o7777
    if not acls:
        return FileAttributes(found.st_uid, found.st_gid, mode)
    path = descriptor_path(descriptor)
    return FileAttributes(found.st_uid, found.st_gid, mode, read_acl(path, ACCESS_ACL), read_acl(path, DEFAULT_ACL))


def read_acl(path: str, name: str, *, follow: bool = True) -> bytes | None:
    """Return one ACL, or None if the file or the file system has none."""
    try:
        return os.getxattr(path, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_ACL:
            return None
        raise


def has_acl(path: str, *, follow: bool = False) -> bool:
    """Return True if the path itself has an ACL. This is faster than the exception in `read_acl`."""
    try:
        return ACCESS_ACL in os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_ACL:
            return False
        raise


def set_attributes(descriptor: int, found: FileAttributes, wanted: FileAttributes) -> None:
    """Change the differing attributes, the owner first because a new owner clears set-id bits. Raises OSError."""
    path = descriptor_path(descriptor)
    acls = ((ACCESS_ACL, found.access, wanted.access), (DEFAULT_ACL, found.default, wanted.default))
    if (found.owner, found.group) != (wanted.owner, wanted.group):
        os.chown(path, wanted.owner, wanted.group)
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
        owner, group, other = mode >> 6 & 7, mode >> 3 & 7, mode & 7
        equal = _packed((_OWNER, owner, _NO_ID), (_GROUP, group, _NO_ID), (_OTHER, other, _NO_ID))
        os.setxattr(path, ACCESS_ACL, equal)


@cache
def readers_acl(users: tuple[int, ...], mode: int) -> bytes:
    """Return the ACL that lets more users read a file of this mode, and no group. The group bits become the mask.

    A new file gets the same bytes from its directory's default ACL.
    """
    return _packed(
        (_OWNER, mode >> 6 & 7, _NO_ID),
        *((_USER, _READ_AND_ENTER, user) for user in users),
        (_GROUP, 0, _NO_ID),
        (_MASK, mode >> 3 & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    )


def _packed(*entries: tuple[int, int, int]) -> bytes:
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def format_acl(acl: bytes) -> str:
    """Return an ACL as text in one line, like getfacl(1)."""
    return ",".join(_format_entry(*entry) for entry in _ENTRY.iter_unpack(acl[_HEADER.size :]))


def _format_entry(tag: int, permissions: int, number: int) -> str:
    who = user_name(number) if tag == _USER else str(number)
    who = "" if number == _NO_ID else who
    return f"{_NAMES[tag]}:{who}:{stat.filemode(permissions << 6)[1:4]}"


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
