"""`hookd permissions APP`: compares owners and modes of an app's files with its policy, and repairs them."""

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hookd.files.audit import AttributeMismatch, AuditFinding, Unwritable, find_mismatches, find_unwritable, repair
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
from hookd.files.safe_open import Unauditable, descriptor_path, open_path
from hookd.model.app import App
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from hookd.model.text import printable
from units.system import layout

# A path alone, a tree, each tree in a directory, or a tree of the app's own data, which is never repaired.
Reach = Literal["alone", "tree", "each", "data"]
MAX_SHOWN: Final = 20


@dataclass(frozen=True)
class PermissionRule:
    """A path with its policy and the policy's reach. A `needed` path must exist."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> tuple[PermissionRule, ...]:
    """Return the rules of an app. Raises OwnershipError for a missing user or group."""
    places = AppPaths(app.root, settings, app.name)
    code = code_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    return (
        PermissionRule(places.root, code, needed=True),
        PermissionRule(places.releases, code, "each"),
        PermissionRule(places.venvs, environment_policy(code), "each"),
        *_shared(app, worker, code),
        *_data(app),
        *_state(app, settings, places, worker),
    )


def _shared(app: App, worker: pwd.struct_passwd, code: Policy) -> Iterator[PermissionRule]:
    secret = secret_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    if app.shared_root.is_relative_to(app.root):
        yield PermissionRule(app.shared_root, code)
    for name in app.shared.files:
        yield PermissionRule(app.shared_root / name, secret, needed=True)


def _data(app: App) -> Iterator[PermissionRule]:
    """Return rules for the data directories. Their content belongs to the app."""
    for name in app.shared.directories:
        policy = data_policy(app.ownership)
        yield PermissionRule(app.data_root / name, policy)
        yield PermissionRule(app.data_root / name, policy, "data")


def _state(app: App, settings: Settings, places: AppPaths, worker: pwd.struct_passwd) -> Iterator[PermissionRule]:
    """Return rules for the worker's own files. A file of root's among them would stop every deployment."""
    mine = Policy(worker.pw_uid, None)
    if app.deploy_key is not None:
        yield PermissionRule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    if app.build.environment_file == layout.app_environment(app.name):
        # systemd reads it as root, so only root may write it.
        yield PermissionRule(layout.app_environment(app.name), Policy(0, worker.pw_gid, GROUP_READABLE), needed=True)
    yield from (PermissionRule(path, mine) for path in (settings.state, places.journal, places.lock))
    trees = (places.mirror, places.cache, places.home, settings.log_directory(app.name))
    yield from (PermissionRule(path, mine, "tree") for path in trees)


@dataclass(frozen=True)
class PathFindings:
    """Findings of one path: the first ones, and the numbers of all and of the repaired ones."""

    path: Path
    findings: tuple[AuditFinding | Unwritable, ...]
    count: int
    repaired: int

    def lines(self) -> Iterator[str]:
        yield from (str(finding) for finding in self.findings)
        if self.count > len(self.findings):
            yield f"… and {self.count - len(self.findings)} more in {printable(str(self.path))}"

    def as_json(self) -> dict[str, Any]:
        findings = [_finding_json(finding) for finding in self.findings]
        return {"path": str(self.path), "count": self.count, "repaired": self.repaired, "findings": findings}


@dataclass(frozen=True)
class PermissionReport:
    """Findings of an app. With `fix` they are repaired as far as this user may."""

    app: str
    policy: str
    fix: bool
    as_root: bool
    places: tuple[PathFindings, ...]

    @property
    def repaired(self) -> int:
        return sum(place.repaired for place in self.places)

    @property
    def left(self) -> int:
        return sum(place.count for place in self.places) - self.repaired

    @property
    def exit_status(self) -> int:
        return 1 if self.left else 0

    def lines(self) -> Iterator[str]:
        for place in self.places:
            yield from place.lines()
        if self.repaired:
            yield f"{self.app}: {_paths(self.repaired)} repaired"
        if not self.left:
            yield f"{self.app}: all paths match the policy {self.policy}"
        elif self.fix and self.as_root:
            yield f"{self.app}: {_paths(self.left)} left for you to decide: see above"
        else:
            yield f"{self.app}: {_paths(self.left)} against the policy {self.policy}"
            yield f"  next: sudo hookd permissions {self.app} --fix"

    def as_json(self) -> dict[str, Any]:
        return {
            "app": self.app,
            "policy": self.policy,
            "right": not self.left,
            "repaired": self.repaired,
            "left": self.left,
            "places": [place.as_json() for place in self.places],
        }


def check_permissions(
    app: App, settings: Settings, *, fix: bool = False, worker: str = layout.WORKER, most: int = MAX_SHOWN
) -> PermissionReport:
    """Compare an app's files with its policy. With `fix`, repair them as far as this user may.

    At most `most` findings of each path are kept. Raises OwnershipError for a missing user or group, and for a file
    system without ACLs.
    """
    found = (_audited(rule, fix, most) for rule in rules(app, settings, _account(worker)))
    places = tuple(place for several in found for place in several if place.count)
    return PermissionReport(app.name, app.ownership.policy, fix, os.geteuid() == 0, places)


def _account(worker: str) -> pwd.struct_passwd:
    try:
        return find_user(worker)
    except OwnershipError as error:
        raise OwnershipError(error.cause, hint="sudo hookd setup") from None


def _audited(rule: PermissionRule, fix: bool, most: int) -> Iterator[PathFindings]:
    audit = repair if fix else find_mismatches
    if rule.reach == "data":
        owner = pwd.getpwuid(rule.policy.owner or 0)
        yield _path_findings(rule, rule.path, find_unwritable(rule.path, owner), most)
        return
    yield _path_findings(rule, rule.path, audit(rule.path, rule.policy, recursive=rule.reach == "tree"), most)
    for tree in _trees(rule.path) if rule.reach == "each" else ():
        yield _path_findings(rule, tree, audit(tree, rule.policy), most)


def _trees(directory: Path) -> list[Path]:
    """Return the entries of a directory, except hidden ones: a deployment builds those now."""
    with suppress(OSError), open_path(directory) as descriptor, os.scandir(descriptor_path(descriptor)) as found:
        return sorted(directory / entry.name for entry in found if not entry.name.startswith("."))
    return []


def _path_findings(
    rule: PermissionRule, path: Path, findings: Iterable[AuditFinding | Unwritable], most: int
) -> PathFindings:
    kept: list[AuditFinding | Unwritable] = []
    count = repaired = 0
    for finding in findings:
        if isinstance(finding, Unauditable) and finding.kind == "missing" and not rule.needed:
            continue
        count += 1
        repaired += isinstance(finding, AttributeMismatch) and finding.repaired
        if len(kept) < most:
            kept.append(finding)
    return PathFindings(path, tuple(kept), count, repaired)


def _paths(count: int) -> str:
    return "1 path" if count == 1 else f"{count} paths"


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
