"""`hookd permissions APP`: compares owners and modes of an app's files with its policy, and repairs them."""

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, Final, Literal

from hookd.files.attributes import FileAttributes, has_acl
from hookd.files.audit import AttributeMismatch, AuditFinding, audit
from hookd.files.policies import (
    GROUP_READABLE,
    PRIVATE,
    OwnershipError,
    Policy,
    code_policy,
    data_policy,
    environment_policy,
    find_user,
    secret_policy,
)
from hookd.files.safe_open import Directory, Unauditable, descriptor_path, open_path, walk
from hookd.model.app import App
from hookd.model.settings import AppPaths, Settings
from hookd.model.text import printable
from units.system import layout
from units.system.facts import missing_setup

# A path alone, with the tree below it, with each tree in it, or with the app's own data below it, never repaired.
Reach = Literal["alone", "tree", "each", "data"]
_MAX_SHOWN: Final = 50


@dataclass(frozen=True)
class PermissionRule:
    """A path with its policy and the policy's reach. A `needed` path must exist."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> Iterator[PermissionRule]:
    """Return the rules of an app. Raises OwnershipError for a missing user or group."""
    paths = AppPaths(app, settings)
    code = code_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    yield PermissionRule(paths.root, code, needed=True)
    yield PermissionRule(paths.releases, code, "each")
    yield PermissionRule(paths.venvs, environment_policy(code), "each")
    if app.shared_root.is_relative_to(app.root):
        yield PermissionRule(app.shared_root, code)
    secret = secret_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    yield from (PermissionRule(app.shared_root / name, secret, needed=True) for name in app.shared.files)
    for name in app.shared.directories:
        yield PermissionRule(app.data_root / name, data_policy(app.ownership), "data")
    if app.deploy_key is not None:
        yield PermissionRule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    if app.build.environment_file == layout.app_environment(app.name):
        # systemd reads it as root, so only root may write it.
        yield PermissionRule(layout.app_environment(app.name), Policy(0, worker.pw_gid, GROUP_READABLE), needed=True)
    # A file of root's among the worker's own files would stop every deployment.
    mine = Policy(worker.pw_uid, None)
    yield from (PermissionRule(path, mine) for path in (settings.state, paths.journal, paths.lock))
    trees = (paths.mirror, paths.cache, paths.home, settings.log_directory(app.name))
    yield from (PermissionRule(path, mine, "tree") for path in trees)


@dataclass(frozen=True)
class Unwritable:
    """Another user's file or directory that the app cannot write."""

    path: str
    found: FileAttributes
    user: str

    def __str__(self) -> str:
        return f"{printable(self.path)} is {self.found}: {self.user} cannot write it"


@dataclass(frozen=True)
class PermissionReport:
    """Findings of an app. With `fix` they are repaired as far as this user may."""

    app: str
    policy: str
    fix: bool
    as_root: bool
    findings: tuple[AuditFinding | Unwritable, ...]

    @property
    def left(self) -> list[AuditFinding | Unwritable]:
        """The findings that are not repaired."""
        return [finding for finding in self.findings if not _is_repaired(finding)]

    @property
    def exit_status(self) -> int:
        return 1 if self.left else 0

    def lines(self) -> Iterator[str]:
        left = self.left
        done = [finding for finding in self.findings if _is_repaired(finding)]
        for findings in (done, left):
            yield from map(str, findings[:_MAX_SHOWN])
            if len(findings) > _MAX_SHOWN:
                yield f"… and {len(findings) - _MAX_SHOWN} more, all of them with --json"
        if done:
            yield f"{self.app}: {_paths(done)} repaired"
        if not left:
            yield f"{self.app}: all paths match the policy {self.policy}"
        elif self.fix and self.as_root:
            yield f"{self.app}: {_paths(left)} left for you to decide: see above"
        else:
            yield f"{self.app}: {_paths(left)} against the policy {self.policy}"
            yield f"  next: sudo hookd permissions {self.app} --fix"

    def as_json(self) -> dict[str, Any]:
        return {
            "app": self.app,
            "policy": self.policy,
            "right": not self.left,
            "findings": [_finding_json(finding) for finding in self.findings],
        }


def check_permissions(
    app: App, settings: Settings, *, fix: bool = False, worker: str = layout.WORKER
) -> PermissionReport:
    """Compare an app's files with its policy. With `fix`, repair them as far as this user may.

    Raises OwnershipError for a missing user or group.
    """
    try:
        account = find_user(worker)
    except OwnershipError as error:
        missing = missing_setup()
        raise OwnershipError(error.cause, hint=(missing and missing.hint) or "sudo hookd setup") from None
    found = (
        finding
        for rule in rules(app, settings, account)
        for finding in _audited(rule, fix)
        if rule.needed or not isinstance(finding, Unauditable) or finding.kind != "missing"
    )
    return PermissionReport(app.name, app.ownership.policy, fix, os.geteuid() == 0, tuple(found))


def _audited(rule: PermissionRule, fix: bool) -> Iterator[AuditFinding | Unwritable]:
    yield from audit(rule.path, rule.policy, recursive=rule.reach == "tree", repairs=fix)
    if rule.reach == "each":
        for tree in _trees(rule.path):
            yield from audit(tree, rule.policy, repairs=fix)
    if rule.reach == "data":
        yield from _find_unwritable(rule.path, pwd.getpwuid(rule.policy.owner or 0))


def _find_unwritable(path: Path, user: pwd.struct_passwd) -> Iterator[Unwritable | Unauditable]:
    """Walk a directory and return the paths that `user` can neither write nor make writable."""
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    try:
        opened = open_path(path)
    except OSError:
        return  # The audit by the directory's policy reports it.
    with opened as top:
        if not S_ISDIR(os.fstat(top).st_mode):
            return
        for found in walk(str(path), top):
            if isinstance(found, Unauditable):
                yield found
                continue
            for name, status in _inside(found):
                place = f"{descriptor_path(found.descriptor)}/{name}"
                if not (_may_write(status, user.pw_uid, groups) or has_acl(place)):
                    attributes = FileAttributes(status.st_uid, status.st_gid, S_IMODE(status.st_mode))
                    yield Unwritable(os.path.normpath(f"{found.path}/{name}"), attributes, user.pw_name)


def _inside(directory: Directory) -> Iterator[tuple[str, os.stat_result]]:
    """Return the directory itself and the files in it."""
    for name in (".", *directory.names):
        with suppress(OSError):  # Removed meanwhile, or not accessible.
            yield name, os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)


def _may_write(status: os.stat_result, user: int, groups: set[int]) -> bool:
    """Return True if a user may write a file. Special files and links have no content."""
    mode = status.st_mode
    if status.st_uid == user or S_ISLNK(mode) or not (S_ISREG(mode) or S_ISDIR(mode)):
        return True
    needed = 0o3 if S_ISDIR(mode) else 0o2
    granted = mode >> 3 if status.st_gid in groups else mode
    return granted & needed == needed


def _trees(directory: Path) -> list[Path]:
    """Return the entries of a directory, except hidden ones: a deployment builds those now."""
    with suppress(OSError), open_path(directory) as descriptor, os.scandir(descriptor_path(descriptor)) as found:
        return sorted(directory / entry.name for entry in found if not entry.name.startswith("."))
    return []


def _is_repaired(finding: AuditFinding | Unwritable) -> bool:
    return isinstance(finding, AttributeMismatch) and finding.repaired


def _paths(findings: list[AuditFinding | Unwritable]) -> str:
    return "1 path" if len(findings) == 1 else f"{len(findings)} paths"


def _finding_json(finding: AuditFinding | Unwritable) -> dict[str, Any]:
    if not isinstance(finding, AttributeMismatch):
        return {"path": finding.path, "problem": str(finding)}
    return {
        "path": finding.path,
        "found": str(finding.found),
        "wanted": str(finding.wanted),
        "obstacle": finding.obstacle,
        "repaired": finding.repaired,
    }
