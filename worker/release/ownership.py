"""Owners, groups, modes and ACLs of releases and of the app's directories, set without root.

The worker owns the files it makes and may give them to its own groups.
"""

import os
from pathlib import Path
from typing import Final

from hookd.files.ownership.attributes import group_name, user_name
from hookd.files.ownership.audit import AuditFinding, audit
from hookd.files.ownership.policies import (
    WRITABLE,
    Acl,
    OwnershipError,
    Policy,
    code_policy,
    environment_policy,
    place_policy,
    require_group,
    secret_policy,
)
from hookd.files.ownership.repair import AttributeMismatch
from hookd.files.safe_open import Unauditable
from hookd.model.hint import Hint, HintKind, LogOnlyHint, render_hint
from hookd.model.tables.files import Ownership
from worker.context import Task
from worker.errors import CommitRefused, DeployError

# Kinds of findings that a commit, or a command that it runs, can cause.
_COMMIT_FAULTS = ("special", "deep")
_FIX_PERMISSIONS: Final = Hint(HintKind.FIX_PERMISSIONS)


def release_policy(ownership: Ownership, *, builder: str = "") -> Policy:
    """Return the policy of releases. Raises DeployError if the worker cannot enforce it.

    `builder` is the user of the app's builds, if that is another one than the worker's.
    """
    try:
        policy = code_policy(ownership, None, os.getegid(), builder=builder)
    except OwnershipError as error:
        raise DeployError(error.cause, hint=LogOnlyHint(error.hint)) from None
    if not _may_give_to(policy.group):
        name = user_name(os.geteuid())
        raise DeployError(
            f"the worker is not a member of the group {ownership.group}",
            hint=LogOnlyHint(f"sudo usermod --append --groups {ownership.group} {name}"),
        )
    return policy


def _may_give_to(group: int | None) -> bool:
    return os.geteuid() == 0 or group in {None, os.getegid(), *os.getgroups()}


def enforce(path: Path, policy: Policy, *, recursive: bool = True) -> int:
    """Set the policy's group, mode and ACL on a tree, or only on its root, and return how many paths were changed.

    Raises CommitRefused for special files such as pipes, and DeployError for files that the worker does not own.
    """
    changed = 0
    for finding in audit(path, policy, recursive=recursive, repairs=True):
        match finding:
            case Unauditable():
                kind = CommitRefused if finding.kind in _COMMIT_FAULTS else DeployError
                raise kind(str(finding), hint=_hint(finding))
            case AttributeMismatch(repaired=False):
                raise DeployError(str(finding), hint=_hint(finding))
        changed += 1
    return changed


def _hint(finding: AuditFinding) -> Hint:
    """Return the command for root if it repairs the path. Otherwise the finding itself says what to do."""
    return _FIX_PERMISSIONS if finding.is_repairable else Hint(HintKind.SHOW_LOG)


def make_directories(task: Task, policy: Policy) -> None:
    """Make the directories of a deployment and enforce their policy. Raises DeployError.

    New files take over the group and the default ACL of their directory.
    """
    place = place_policy(policy, task.app.site)
    if not task.paths.root.is_dir():
        user, group = user_name(os.geteuid()), group_name(os.getegid() if policy.group is None else policy.group)
        mode = place.modes.directory if place.modes else 0o755
        raise DeployError(
            f"the app's directory {task.paths.root} does not exist",
            hint=LogOnlyHint(f"sudo install -d -o {user} -g {group} -m {mode:o} {task.paths.root}"),
        )
    root, shared = task.paths.root, task.app.shared_root
    _repair(task, root, place)
    if shared.is_relative_to(root) and shared != root:
        _repair(task, shared, policy)
    secret = _secret_policy(task.app.ownership)
    if secret is not None:
        for name in task.app.shared.files:
            _repair(task, shared / name, secret)
    # On a server the unit of the build makes its caches.
    caches = () if task.app.uses_systemd else (task.paths.cache / "home",)
    for directory in (task.paths.releases, task.paths.venvs, task.paths.home, *caches):
        directory.mkdir(parents=True, exist_ok=True)
    enforce(task.paths.releases, place, recursive=False)
    enforce(task.paths.venvs, policy, recursive=False)
    for venv in sorted(task.paths.venvs.iterdir()):  # The current release and a rollback start in one.
        _repair(task, venv, environment_policy(policy), recursive=True)


def _secret_policy(ownership: Ownership) -> Policy | None:
    """Return the policy of shared files, or None with the policy `split` without a usable group."""
    try:
        policy = secret_policy(ownership, None, os.getegid())
    except OwnershipError:
        return None
    return policy if _may_give_to(policy.group) else None


def writable_policy(ownership: Ownership) -> Policy:
    """Return the policy of a new directory that the app writes to: its group may write."""
    try:
        group: int | None = require_group(ownership.group)
    except OwnershipError:
        group = None
    return Policy(None, group if _may_give_to(group) else None, WRITABLE, Acl())


def _repair(task: Task, path: Path, policy: Policy, *, recursive: bool = False) -> None:
    """Repair a path, or the tree below it, as far as possible without root, and log the rest.

    The deployment goes on in any case: the health check shows if the app works.
    """
    found = list(audit(path, policy, recursive=recursive, repairs=True))
    repaired = [fault for fault in found if isinstance(fault, AttributeMismatch) and fault.repaired]
    left = [fault for fault in found if fault not in repaired and (recursive or isinstance(fault, AttributeMismatch))]
    is_repairable = any(fault.is_repairable for fault in left)
    fix = f"; next: {render_hint(_FIX_PERMISSIONS, task.app.name)}" if is_repairable else ""
    for group, ending in ((repaired, ""), (left, fix)):
        if group:
            more = f", and {len(group) - 1} more paths" if len(group) > 1 else ""
            task.recorder.line(f"{group[0]}{more}{ending}")
