"""The ownership policies: who owns an app's files, who else may read them, and with which modes they are born."""

import grp
import pwd
from dataclasses import dataclass, replace
from typing import Final

from hookd.model.app import Ownership


class OwnershipError(Exception):
    """A policy that this machine cannot keep: one sentence for people, and the next command to type."""

    def __init__(self, cause: str, *, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


@dataclass(frozen=True)
class Modes:
    """Modes for files, for programs (what its owner may execute) and for directories."""

    file: int
    program: int
    directory: int


@dataclass(frozen=True)
class Acl:
    """Which user has an entry of its own in every ACL; with none there are to be no ACLs."""

    reader: int | None = None


@dataclass(frozen=True)
class Policy:
    """What is right for a path: None means that anything is.

    `programs` names a directory of a tree in which a file that begins as programs do is one, whatever its mode says.
    """

    owner: int | None
    group: int | None
    modes: Modes | None = None
    acl: Acl | None = None
    programs: str | None = None


GROUP_READABLE: Final = Modes(0o640, 0o750, 0o2750)
WORLD_READABLE: Final = Modes(0o644, 0o755, 0o755)
# No set-group-id: the group is the owner's own, and of no use to others.
OWNER_READABLE: Final = Modes(0o640, 0o750, 0o750)
WRITABLE: Final = Modes(0o660, 0o770, 0o2770)
PRIVATE: Final = Modes(0o600, 0o700, 0o700)


def code_policy(ownership: Ownership, owner: int | None, own_group: int) -> Policy:
    """What is right for releases and environments, whose owner has `own_group`; raises OwnershipError."""
    match ownership.policy:
        case "group":
            return Policy(owner, find_group(ownership.group), GROUP_READABLE, Acl())
        case "split":
            return Policy(owner, own_group, WORLD_READABLE, Acl())
        case "acl":
            return Policy(owner, own_group, OWNER_READABLE, Acl(find_user(ownership.user).pw_uid))


def environment_policy(code: Policy) -> Policy:
    """What is right for an environment of this code: unlike a commit's, its programs are all known by their place."""
    return replace(code, programs="bin")


def secret_policy(ownership: Ownership, owner: int | None, own_group: int) -> Policy:
    """What is right for shared files such as `.env`: nobody but owner and app reads them. Raises OwnershipError."""
    if ownership.policy == "split":
        return Policy(owner, find_group(ownership.group), GROUP_READABLE, Acl())
    return code_policy(ownership, owner, own_group)


def data_policy(ownership: Ownership) -> Policy:
    """What is right for a directory that the app writes to; raises OwnershipError."""
    return Policy(find_user(ownership.user).pw_uid, find_group(ownership.group), WRITABLE)


def umask_of(ownership: Ownership) -> int:
    """The umask under which files are born right."""
    return 0o022 if ownership.policy == "split" else 0o027


def find_group(name: str) -> int:
    """Find a group; raises OwnershipError."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OwnershipError(f"the group {name} does not exist", hint=f"sudo groupadd --system {name}") from None


def find_user(name: str) -> pwd.struct_passwd:
    """Find a user; raises OwnershipError."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        hint = f"sudo useradd --system --user-group --shell /usr/sbin/nologin {name}"
        raise OwnershipError(f"the user {name} does not exist", hint=hint) from None
