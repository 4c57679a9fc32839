"""Changes that make users and groups, and their removal."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from units.changes.apply import Echo
from units.changes.change import Change, Created
from units.changes.manifest import Manifest, Resource, ResourceKind
from units.system.accounts import find_group, find_user, is_member
from units.system.run import run, succeeds

NOLOGIN: Final = "/usr/sbin/nologin"
# The file that each change of a user's groups writes.
GROUPS: Final = Path("/etc/group")
# Users before groups, because a user's first group cannot be removed.
_REMOVALS: Final[dict[ResourceKind, tuple[str, ...]]] = {
    "member": ("gpasswd", "--delete"),
    "user": ("userdel",),
    "group": ("groupdel",),
}


@dataclass(frozen=True)
class Group(Change):
    name: str

    def is_present(self) -> bool:
        return find_group(self.name) is not None

    def apply(self) -> None:
        run(("groupadd", "--system", self.name))

    def creates(self) -> Created:
        return [("group", self.name)]

    def mismatch(self) -> str:
        return f"the group {self.name} is missing"

    def __str__(self) -> str:
        return f"group      {self.name}"


@dataclass(frozen=True)
class User(Change):
    """A system user without a login, as a member of `groups`. A new one gets the number `uid`, or any."""

    name: str
    group: str
    home: Path
    groups: tuple[str, ...] = ()
    uid: int | None = None
    path: ClassVar[Path] = GROUPS

    def is_present(self) -> bool:
        return find_user(self.name) is not None and not self._missing_groups()

    def apply(self) -> None:
        if find_user(self.name) is None:
            number = () if self.uid is None else ("--uid", str(self.uid))
            home = ("--home-dir", str(self.home), "--no-create-home")
            run(("useradd", "--system", "--gid", self.group, *number, *home, "--shell", NOLOGIN, self.name))
        for group in self._missing_groups():
            run(("usermod", "--append", "--groups", group, self.name))

    def creates(self) -> Created:
        user: Created = [] if find_user(self.name) else [("user", self.name)]
        return [*user, *(("member", f"{self.name} {group}") for group in self._missing_groups())]

    def mismatch(self) -> str:
        groups = f" or not in {', '.join(self.groups)}" if self.groups else ""
        return f"the user {self.name} is missing{groups}"

    def _missing_groups(self) -> list[str]:
        return [group for group in self.groups if not is_member(self.name, group)]

    def __str__(self) -> str:
        more = f", member of {', '.join(self.groups)}" if self.groups else ""
        return f"user       {self.name} (group {self.group}, no login{more})"


def remove_accounts(manifest: Manifest, accounts: Iterable[Resource], echo: Echo, *, dry_run: bool) -> None:
    """Remove users, groups and members that hookd made. Print those that cannot be removed."""
    left = list(accounts)
    present = [account for account in left if _exists(account)]
    for kind, command in _REMOVALS.items():
        for account in (entry for entry in present if entry.kind == kind):
            echo(f"- remove     {account.name}  ({kind})")
            argv = (*command, *account.name.split(" "))
            # userdel removes the user's own group, too.
            if not dry_run and not succeeds(argv) and _exists(account):
                echo(f"  not done: {' '.join(argv)}")
                left.remove(account)
    for account in [] if dry_run else left:
        manifest.forget(account)


def _exists(account: Resource) -> bool:
    name, _, group = account.name.partition(" ")
    if account.kind == "member":
        return is_member(name, group)
    return (find_user if account.kind == "user" else find_group)(name) is not None
