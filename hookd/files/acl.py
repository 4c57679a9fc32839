"""POSIX ACLs as bytes of an extended attribute, written without a program or library.

The layout is the kernel's (linux/posix_acl_xattr.h): a version, then entries of tag, permissions and id, in the order
of tags and ids.
"""

import pwd
import struct
from functools import cache
from typing import Final

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"
_VERSION: Final = 2
_NO_ID: Final = 0xFFFFFFFF
_OWNER, _USER, _GROUP, _NAMED_GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMES: Final = {_OWNER: "user", _USER: "user", _GROUP: "group", _NAMED_GROUP: "group", _MASK: "mask", _OTHER: "other"}
_READ_AND_ENTER: Final = 0o5
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")


@cache
def reader_acl(user: int, mode: int) -> bytes:
    """Return the ACL that lets one more user read a file of this mode, and no group. The group bits become the mask.

    A new file gets the same bytes from its directory's default ACL.
    """
    return _packed(
        (_OWNER, mode >> 6 & 7, _NO_ID),
        (_USER, _READ_AND_ENTER, user),
        (_GROUP, 0, _NO_ID),
        (_MASK, mode >> 3 & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    )


def mode_acl(mode: int) -> bytes:
    """Return the ACL that equals a mode."""
    return _packed((_OWNER, mode >> 6 & 7, _NO_ID), (_GROUP, mode >> 3 & 7, _NO_ID), (_OTHER, mode & 7, _NO_ID))


def _packed(*entries: tuple[int, int, int]) -> bytes:
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def format_acl(acl: bytes) -> str:
    """Return an ACL as text in one line, like getfacl(1)."""
    body = acl[_HEADER.size :]
    if len(acl) < _HEADER.size or len(body) % _ENTRY.size:
        return "unknown"
    return ",".join(_format_entry(*entry) for entry in _ENTRY.iter_unpack(body))


def _format_entry(tag: int, permissions: int, number: int) -> str:
    letters = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
    return f"{_NAMES.get(tag, tag)}:{_name(tag, number)}:{letters}"


def _name(tag: int, number: int) -> str:
    if tag not in (_USER, _NAMED_GROUP):
        return ""
    try:
        return pwd.getpwuid(number).pw_name if tag == _USER else str(number)
    except KeyError:
        return str(number)
