"""Users and groups of this host."""

import grp
import os
import pwd
from collections.abc import Iterable
from contextlib import suppress


def find_user(name: str) -> pwd.struct_passwd | None:
    """Return a user, or None."""
    with suppress(KeyError):
        return pwd.getpwnam(name)
    return None


def find_group(name: str) -> grp.struct_group | None:
    """Return a group, or None."""
    with suppress(KeyError):
        return grp.getgrnam(name)
    return None


def is_member(user: str, group: str) -> bool:
    """Return True if a group is one of a user's."""
    account, found = find_user(user), find_group(group)
    return account is not None and found is not None and (user in found.gr_mem or account.pw_gid == found.gr_gid)


def groups_of(user: str) -> set[str]:
    """Return the names of a user's groups, or none without such a user."""
    found = find_user(user)
    return group_names(os.getgrouplist(user, found.pw_gid)) if found else set()


def group_names(numbers: Iterable[int]) -> set[str]:
    """Return the names of groups. A group without a name is left out."""
    names = set()
    for number in numbers:
        with suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return names
