"""What is not right in a tree or with a path, and its repair: the two questions that worker and host ask."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from hookd.store.judge import Drift, Fault, Judge
from hookd.store.ownership import OwnershipError, Policy
from hookd.store.rights import keeps_acls
from hookd.store.tree import Odd, opened

__all__ = ["Drift", "Fault", "Odd", "drift", "mend"]


def drift(path: Path, policy: Policy, *, alone: bool = False) -> Iterator[Fault]:
    """Find what is not right in a tree, or with the path `alone`. Raises OwnershipError."""
    return _inspect(path, policy, alone=alone, repairs=False)


def mend(path: Path, policy: Policy, *, alone: bool = False) -> Iterator[Fault]:
    """Repair what this user may, and say of each finding whether it is repaired. Raises OwnershipError."""
    return _inspect(path, policy, alone=alone, repairs=True)


def _inspect(path: Path, policy: Policy, *, alone: bool, repairs: bool) -> Iterator[Fault]:
    with ExitStack() as held:
        try:
            descriptor = held.enter_context(opened(path))
        except FileNotFoundError:
            yield Odd(str(path), "missing")
            return
        except OSError as error:
            yield Odd(str(path), "unreadable", error.strerror)
            return
        _check(path, policy, descriptor)
        mode, judge = os.fstat(descriptor).st_mode, Judge(policy, repairs=repairs)
        if stat.S_ISLNK(mode):
            yield Odd(str(path), "link")
        elif stat.S_ISDIR(mode) and not alone:
            yield from judge.tree(str(path), descriptor)
        else:
            yield from judge.one(str(path), descriptor)


def _check(path: Path, policy: Policy, descriptor: int) -> None:
    """Refuse a policy with ACLs where there can be none; raises OwnershipError."""
    if policy.acl is None or policy.acl.reader is None or keeps_acls(descriptor):
        return
    raise OwnershipError(
        f"the file system of {path} keeps no ACLs, which the ownership policy acl needs",
        hint=f'set ownership.policy = "group" in the app\'s file, or put {path} on ext4, xfs or btrfs',
    )
