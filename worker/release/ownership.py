"""What the worker does about ownership: a release is right or it is not deployed; beside it, it repairs what it may.

The worker needs no root for this: it owns what it made, and may give it to a group it is a member of.
"""

import os
import pwd
from pathlib import Path
from typing import Final

from hookd.files.attributes import group_name, user_name
from hookd.files.audit import AttributeMismatch, repair
from hookd.files.policies import (
    WRITABLE,
    Acl,
    OwnershipError,
    Policy,
    code_policy,
    environment_policy,
    find_group,
    secret_policy,
)
from hookd.files.safe_open import Unauditable
from hookd.model.app import Ownership
from hookd.model.hint import Hint, HintKind, LogOnlyHint, render_hint
from worker.context import Task
from worker.errors import CommitRefused, DeployError

# What a commit, or a command that it runs, can leave in a release.
_COMMIT_FAULTS = ("special", "deep")
FIX_PERMISSIONS: Final = Hint(HintKind.FIX_PERMISSIONS)


def release_policy(ownership: Ownership) -> Policy:
    """Work out the policy of releases; raises DeployError when the worker cannot keep it."""
    try:
        policy = code_policy(ownership, None, os.getegid())
    except OwnershipError as error:
        raise DeployError(error.cause, hint=LogOnlyHint(error.hint)) from None
    if not _may_give_to(policy.group):
        name = pwd.getpwuid(os.geteuid()).pw_name
        raise DeployError(
            f"the worker is not a member of the group {ownership.group}, so it cannot give files to it",
            hint=LogOnlyHint(f"sudo usermod --append --groups {ownership.group} {name}, then restart the worker"),
        )
    return policy


def _may_give_to(group: int | None) -> bool:
    return os.geteuid() == 0 or group in {None, os.getegid(), *os.getgroups()}


def enforce(tree: Path, policy: Policy, hint: Hint | None = None) -> int:
    """Give every file and directory of a tree the policy's group, mode and ACL; returns how many were not right.

    Raises CommitRefused for what is neither file, directory nor link, and DeployError for what is not the worker's own.
    """
    return _enforce(tree, policy, hint, recursive=True)


def enforce_environment(venv: Path, policy: Policy, hint: Hint | None = None) -> int:
    """Do the same for an environment, whose programs are known even when they have lost their mode."""
    return enforce(venv, environment_policy(policy), hint)


def enforce_directory(directory: Path, policy: Policy, hint: Hint | None = None) -> None:
    """Do the same for one directory, not for what is in it; raises DeployError."""
    _enforce(directory, policy, hint, recursive=False)


def _enforce(path: Path, policy: Policy, hint: Hint | None, *, recursive: bool) -> int:
    changed = 0
    try:
        for finding in repair(path, policy, recursive=recursive):
            match finding:
                case Unauditable():
                    kind = CommitRefused if finding.kind in _COMMIT_FAULTS else DeployError
                    raise kind(str(finding), hint=hint)
                case AttributeMismatch(repaired=False):
                    raise DeployError(str(finding), hint=hint)
            changed += 1
    except OwnershipError as error:
        raise DeployError(error.cause, hint=LogOnlyHint(error.hint)) from None
    return changed


def make_directories(task: Task, policy: Policy) -> None:
    """Make what a deployment needs, right from the start: what is new in a directory takes after it.

    Raises DeployError.
    """
    if not task.places.root.is_dir():
        user, group = user_name(os.geteuid()), group_name(os.getegid() if policy.group is None else policy.group)
        mode = policy.modes.directory if policy.modes else 0o755
        raise DeployError(
            f"the app's directory {task.places.root} does not exist",
            hint=LogOnlyHint(f"sudo install -d -o {user} -g {group} -m {mode:o} {task.places.root}"),
        )
    _repair_app_paths(task, policy)
    for directory in (task.places.releases, task.places.venvs, task.places.cache, task.places.home):
        directory.mkdir(parents=True, exist_ok=True)
    for directory in (task.places.releases, task.places.venvs):
        enforce_directory(directory, policy, FIX_PERMISSIONS)
    for venv in sorted(task.places.venvs.iterdir()):
        _repair_environment(task, venv, environment_policy(policy))


def _repair_app_paths(task: Task, policy: Policy) -> None:
    """Repair the app's own directories and shared files as far as it needs no root, and say what is left.

    A deployment does not fail for it: whether the app can live with it, its health check will say.
    """
    root, shared = task.places.root, task.app.shared_root
    for directory in (root, shared) if shared.is_relative_to(root) else (root,):
        _repair_path(task, directory, policy)
    secret = _secret_policy(task.app.ownership)
    if secret is None:
        return
    for name in task.app.shared.files:
        _repair_path(task, shared / name, secret)


def _secret_policy(ownership: Ownership) -> Policy | None:
    """What is right for shared files; None where the policy `split` has no group that it could give them to."""
    try:
        policy = secret_policy(ownership, None, os.getegid())
    except OwnershipError:
        return None
    return policy if _may_give_to(policy.group) else None


def writable_policy(ownership: Ownership) -> Policy:
    """What is right for a new directory that the app writes to, as long as the worker owns it: the group does it."""
    try:
        group: int | None = find_group(ownership.group)
    except OwnershipError:
        group = None
    return Policy(None, group if _may_give_to(group) else None, WRITABLE, Acl())


def _repair_path(task: Task, path: Path, policy: Policy) -> None:
    try:
        found = [finding for finding in repair(path, policy, recursive=False) if isinstance(finding, AttributeMismatch)]
    except OwnershipError as error:
        task.recorder.line(f"warning: {error.cause}; next: {error.hint}")
        return
    for finding in found:
        end = "" if finding.repaired else f"; next: {render_hint(FIX_PERMISSIONS, task.app.name)}"
        task.recorder.line(f"{finding}{end}")


def _repair_environment(task: Task, venv: Path, policy: Policy) -> None:
    """Repair an environment: a release that serves, or is gone back to, must be able to start in it."""
    try:
        found = list(repair(venv, policy))
    except OwnershipError as error:
        task.recorder.line(f"warning: {error.cause}; next: {error.hint}")
        return
    left = [finding for finding in found if not (isinstance(finding, AttributeMismatch) and finding.repaired)]
    if repaired := len(found) - len(left):
        task.recorder.line(f"the environment {venv.name} was not as it should be: {repaired} paths repaired")
    if left:
        task.recorder.line(
            f"{left[0]} ({len(left)} such paths in {venv.name}); next: {render_hint(FIX_PERMISSIONS, task.app.name)}"
        )
