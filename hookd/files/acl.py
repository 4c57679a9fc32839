"""POSIX ACLs as the kernel keeps them: the bytes of an extended attribute, so neither program nor library is needed.

The form is part of the kernel's interface (linux/posix_acl_xattr.h): a version, then one entry of tag, permissions and
id after the other, in the order of their tags and ids.
"""

import pwd
import struct
from functools import cache
from typing import Final

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"
_VERSION: Final = 2
_NOBODY: Final = 0xFFFFFFFF  # What stands for the id where there is none.
_OWNER, _USER, _GROUP, _NAMED_GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMES: Final = {_OWNER: "user", _USER: "user", _GROUP: "group", _NAMED_GROUP: "group", _MASK: "mask", _OTHER: "other"}
_READ_AND_ENTER: Final = 0o5
_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")


@cache
def reader_acl(user: int, mode: int) -> bytes:
    """Let one more user read what has this mode, and no group: the mode's group bits become the mask.

    It is what a new file gets from its directory's default ACL, byte for byte: so what is born right needs no repair.
    """
    return _packed(
        (_OWNER, mode >> 6 & 7, _NOBODY),
        (_USER, _READ_AND_ENTER, user),
        (_GROUP, 0, _NOBODY),
        (_MASK, mode >> 3 & 7, _NOBODY),
        (_OTHER, mode & 7, _NOBODY),
    )


def mode_acl(mode: int) -> bytes:
    """Say what a mode says, and no more."""
    bits = ((_OWNER, mode >> 6 & 7), (_GROUP, mode >> 3 & 7), (_OTHER, mode & 7))
    return _packed(*((tag, permissions, _NOBODY) for tag, permissions in bits))


def _packed(*entries: tuple[int, int, int]) -> bytes:
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def format_acl(acl: bytes) -> str:
    """Write an ACL as getfacl(1) does, in one line."""
    body = acl[_HEADER.size :]
    if len(acl) < _HEADER.size or len(body) % _ENTRY.size:
        return "unknown"
    return ",".join(_entry_text(*entry) for entry in _ENTRY.iter_unpack(body))


def _entry_text(tag: int, permissions: int, number: int) -> str:
    letters = "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
    return f"{_NAMES.get(tag, tag)}:{_name(tag, number)}:{letters}"


def _name(tag: int, number: int) -> str:
    if tag not in (_USER, _NAMED_GROUP):
        return ""
    try:
        return pwd.getpwuid(number).pw_name if tag == _USER else str(number)
    except KeyError:
        return str(number)
