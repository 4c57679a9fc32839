"""Ownership policies: owner, readers and modes of an app's files."""

import grp
import pwd
from dataclasses import dataclass, replace
from typing import Final

from hookd.model.tables.files import Ownership
from hookd.model.tables.site import Site


class OwnershipError(Exception):
    """This host cannot keep a policy. `hint` is the next command."""

    def __init__(self, cause: str, *, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


@dataclass(frozen=True)
class Modes:
    """Modes of files, of programs (files that the owner may execute) and of directories."""

    file: int
    program: int
    directory: int

    @property
    def passable(self) -> "Modes":
        """The modes of a directory through which everybody may pass, without reading it."""
        return replace(self, directory=self.directory | 0o001)

    @property
    def public(self) -> "Modes":
        """The modes that let everybody read."""
        return Modes(self.file | 0o004, self.program | 0o005, self.directory | 0o005)


@dataclass(frozen=True)
class Acl:
    """The users with an entry in every ACL, in order. Without a user, no file may have an ACL."""

    readers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Policy:
    """The attributes of a path. None allows any value.

    A file in the `bin` of an environment is a program by its first bytes, because `chmod -R` takes the mode away. Its
    files may have more names, in other environments. Everybody may read the directories `public` below a tree.
    """

    owner: int | None
    group: int | None
    modes: Modes | None = None
    acl: Acl | None = None
    is_environment: bool = False
    public: tuple[str, ...] = ()

    def modes_in(self, directory: str) -> Modes | None:
        """Return the modes of a directory in a tree and of its files. The tree's top is ""."""
        inside = f"{directory}/" if directory else ""
        if self.modes is None:
            return None
        if any(inside.startswith(f"{name}/") for name in self.public):
            return self.modes.public
        return self.modes.passable if any(name.startswith(inside) for name in self.public) else self.modes


GROUP_READABLE: Final = Modes(0o640, 0o750, 0o2750)
WORLD_READABLE: Final = Modes(0o644, 0o755, 0o755)
# Without set-group-id, because the group is the owner's own.
OWNER_READABLE: Final = Modes(0o640, 0o750, 0o750)
WRITABLE: Final = Modes(0o660, 0o770, 0o2770)
PRIVATE: Final = Modes(0o600, 0o700, 0o700)


def code_policy(ownership: Ownership, owner: int | None, own_group: int, *, builder: str = "") -> Policy:
    """Return the policy of releases and environments. Raises OwnershipError.

    `own_group` is their owner's, and `builder` the user of the app's builds, if that is another one than the owner.
    """
    match ownership.policy:
        case "group":
            return Policy(owner, require_group(ownership.group), GROUP_READABLE, Acl())
        case "split":
            return Policy(owner, own_group, WORLD_READABLE, Acl())
        case "acl":
            readers = {require_user(name).pw_uid for name in (ownership.user, builder) if name}
            return Policy(owner, own_group, OWNER_READABLE, Acl(tuple(sorted(readers))))


def place_policy(code: Policy, site: Site) -> Policy:
    """Return the policy of the directories above releases. Behind a site, nginx passes through them to `current`."""
    return replace(code, modes=code.modes.passable) if code.modes and site.domain else code


def release_tree_policy(code: Policy, site: Site) -> Policy:
    """Return the policy of a release: everybody may read what nginx serves from it."""
    return replace(code, public=tuple(site.static.values())) if site.domain else code


def environment_policy(code: Policy) -> Policy:
    """Return the policy of a virtual environment: no file has a write bit, because environments share files."""
    modes = code.modes and Modes(code.modes.file & ~0o222, code.modes.program & ~0o222, code.modes.directory)
    return replace(code, modes=modes, is_environment=True)


def secret_policy(ownership: Ownership, owner: int | None, own_group: int) -> Policy:
    """Return the policy of shared files such as `.env`: only owner and app read them. Raises OwnershipError."""
    if ownership.policy == "split":
        return Policy(owner, require_group(ownership.group), GROUP_READABLE, Acl())
    return code_policy(ownership, owner, own_group)


def data_policy(ownership: Ownership) -> Policy:
    """Return the policy of a directory that the app writes to. Raises OwnershipError."""
    return Policy(require_user(ownership.user).pw_uid, require_group(ownership.group), WRITABLE)


def umask_of(ownership: Ownership) -> int:
    """Return the umask that gives new files the policy's modes."""
    return 0o022 if ownership.policy == "split" else 0o027


def require_group(name: str) -> int:
    """Return a group's id. Raises OwnershipError."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OwnershipError(f"the group {name} does not exist", hint=f"sudo groupadd --system {name}") from None


def require_user(name: str) -> pwd.struct_passwd:
    """Return a user. Raises OwnershipError."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        useradd = f"sudo useradd --system --user-group --shell /usr/sbin/nologin {name}"
        hint = "sudo hookd setup" if name.startswith("hookd-") else useradd
        raise OwnershipError(f"the user {name} does not exist", hint=hint) from None
