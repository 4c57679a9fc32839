"""`hookd permissions APP`: compares owners and modes of an app's files with its policy, and repairs them."""

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hookd.files.ownership.audit import AuditFinding, audit
from hookd.files.ownership.data import audit_data
from hookd.files.ownership.policies import (
    GROUP_READABLE,
    PRIVATE,
    OwnershipError,
    Policy,
    code_policy,
    data_policy,
    environment_policy,
    place_policy,
    release_tree_policy,
    require_user,
    secret_policy,
)
from hookd.files.ownership.repair import AttributeMismatch
from hookd.files.safe_open import Unauditable, descriptor_path, open_path
from hookd.model.app import App
from hookd.model.settings import AppPaths, Settings
from hookd.model.units.phases import build_user
from units.system import layout
from units.system.facts import missing_setup

# A path alone, with the tree below it, or with the app's own data below it.
Reach = Literal["alone", "tree", "data"]
_MAX_SHOWN: Final = 50


@dataclass(frozen=True)
class PermissionRule:
    """A path with its policy and the policy's reach. `within` is for each tree in it. A `needed` path must exist."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False
    within: Policy | None = None


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> Iterator[PermissionRule]:
    """Return the rules of an app. Raises OwnershipError for a missing user or group."""
    paths = AppPaths(app, settings)
    code = code_policy(app.ownership, worker.pw_uid, worker.pw_gid, builder=build_user(app))
    place = place_policy(code, app.site)
    yield PermissionRule(paths.root, place, needed=True)
    yield PermissionRule(paths.releases, place, within=release_tree_policy(code, app.site))
    yield PermissionRule(paths.venvs, environment_policy(code), within=environment_policy(code))
    if app.shared_root.is_relative_to(app.root) and app.shared_root != app.root:
        yield PermissionRule(app.shared_root, code)
    secret = secret_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    yield from (PermissionRule(app.shared_root / name, secret, needed=True) for name in app.shared.files)
    for name in app.shared.directories:
        yield PermissionRule(app.data_root / name, data_policy(app.ownership), "data")
    if app.deploy_key is not None:
        yield PermissionRule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    # systemd reads the service's variables as root, so only root may write them.
    own = {layout.app_environment(app.name), layout.build_environment(app.name)}
    variables = Policy(0, worker.pw_gid, GROUP_READABLE)
    yield from (PermissionRule(path, variables, needed=True) for path in app.variable_files if path in own)
    # A file of root's among the worker's own files would stop every deployment.
    mine = Policy(worker.pw_uid, None)
    yield from (PermissionRule(path, mine) for path in (settings.state, paths.journal, paths.lock))
    trees = (paths.mirror, paths.home, settings.log_directory(app.name))
    yield from (PermissionRule(path, mine, "tree") for path in trees)
    if builder := build_user(app):
        yield PermissionRule(paths.cache, Policy(require_user(builder).pw_uid, None), "tree")


@dataclass(frozen=True)
class PermissionReport:
    """Findings of an app, some of them repaired."""

    app: str
    policy: str
    findings: tuple[AuditFinding, ...]

    @property
    def left(self) -> list[AuditFinding]:
        """The findings that are not repaired."""
        return [finding for finding in self.findings if not _is_repaired(finding)]

    @property
    def repair(self) -> str | None:
        """The command that repairs findings, or None if a person must decide about all that are left."""
        is_repairable = any(finding.is_repairable for finding in self.left)
        return f"sudo hookd permissions {self.app} --fix" if is_repairable else None

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
        elif self.repair is None:
            yield f"{self.app}: {_paths(left)} left for you to decide: see above"
        else:
            yield f"{self.app}: {_paths(left)} against the policy {self.policy}"
            yield f"  next: {self.repair}"

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
        account = require_user(worker)
    except OwnershipError as error:
        missing = missing_setup()
        raise OwnershipError(error.cause, hint=(missing and missing.hint) or "sudo hookd setup") from None
    found = (
        finding
        for rule in rules(app, settings, account)
        for finding in _audited(rule, account, fix)
        if rule.needed or not isinstance(finding, Unauditable) or finding.kind != "missing"
    )
    return PermissionReport(app.name, app.ownership.policy, tuple(found))


def _audited(rule: PermissionRule, worker: pwd.struct_passwd, fix: bool) -> Iterator[AuditFinding]:
    yield from audit(rule.path, rule.policy, recursive=rule.reach == "tree", repairs=fix)
    if rule.within is not None:
        for tree in _trees(rule.path):
            yield from audit(tree, rule.within, repairs=fix)
    if rule.reach == "data":
        yield from audit_data(rule.path, rule.policy, frozenset({0, worker.pw_uid}), repairs=fix)


def _trees(directory: Path) -> list[Path]:
    """Return the entries of a directory, except hidden ones: a deployment builds those now."""
    with suppress(OSError), open_path(directory) as descriptor, os.scandir(descriptor_path(descriptor)) as found:
        return sorted(directory / entry.name for entry in found if not entry.name.startswith("."))
    return []


def _is_repaired(finding: AuditFinding) -> bool:
    return isinstance(finding, AttributeMismatch) and finding.repaired


def _paths(findings: list[AuditFinding]) -> str:
    return "1 path" if len(findings) == 1 else f"{len(findings)} paths"


def _finding_json(finding: AuditFinding) -> dict[str, Any]:
    if not isinstance(finding, AttributeMismatch):
        return {"path": finding.path, "problem": str(finding)}
    return {
        "path": finding.path,
        "found": str(finding.found),
        "wanted": str(finding.wanted),
        "obstacle": finding.obstacle,
        "repaired": finding.repaired,
    }
