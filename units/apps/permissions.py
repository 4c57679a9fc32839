"""`hookd permissions APP`: what is not right for an app, file by file, and its repair."""

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

# A path alone, a tree, every tree in a directory, or a tree of the app's own, which is only looked at.
Reach = Literal["alone", "tree", "each", "look"]


@dataclass(frozen=True)
class PermissionRule:
    """A path, its policy, how far that reaches, and whether something must be there."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> tuple[PermissionRule, ...]:
    """Say what is to be right for an app; raises OwnershipError for a user or group that does not exist."""
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
    """The app's own directories: each itself is set right; what the app put into it is the app's."""
    for name in app.shared.directories:
        policy = data_policy(app.ownership)
        yield PermissionRule(app.data_root / name, policy)
        yield PermissionRule(app.data_root / name, policy, "look")


def _state(app: App, settings: Settings, places: AppPaths, worker: pwd.struct_passwd) -> Iterator[PermissionRule]:
    """What only the worker uses: a file of root's in it, left by a command typed as root, stops every deployment."""
    mine = Policy(worker.pw_uid, None)
    if app.deploy_key is not None:
        yield PermissionRule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    if app.build.environment_file == layout.app_environment(app.name):
        # Root's own: systemd reads it as root, so nobody else may say what it is.
        yield PermissionRule(layout.app_environment(app.name), Policy(0, worker.pw_gid, GROUP_READABLE), needed=True)
    yield from (PermissionRule(path, mine) for path in (settings.state, places.journal, places.lock))
    trees = (places.mirror, places.cache, places.home, settings.log_directory(app.name))
    yield from (PermissionRule(path, mine, "tree") for path in trees)


SHOWN: Final = 20


@dataclass(frozen=True)
class PathFindings:
    """What was found in one place: the first findings, and how many there are and were repaired in all."""

    path: Path
    findings: tuple[AuditFinding | Unwritable, ...]
    count: int
    repaired: int

    def lines(self) -> Iterator[str]:
        """The findings, one a line, and how many more there are."""
        yield from (str(finding) for finding in self.findings)
        if self.count > len(self.findings):
            yield f"… and {self.count - len(self.findings)} more in {printable(str(self.path))}"


@dataclass(frozen=True)
class PermissionReport:
    """What is not right for an app, or was not: with `fix` it is repaired as far as this user may."""

    app: str
    policy: str
    fix: bool
    as_root: bool
    places: tuple[PathFindings, ...]

    @property
    def repaired(self) -> int:
        """How many paths were repaired."""
        return sum(place.repaired for place in self.places)

    @property
    def left(self) -> int:
        """How many paths are not right now."""
        return sum(place.count for place in self.places) - self.repaired

    @property
    def exit_status(self) -> int:
        """0 when everything is right now, 1 when not."""
        return 1 if self.left else 0

    def lines(self) -> Iterator[str]:
        """What a person is told."""
        for place in self.places:
            yield from place.lines()
        if self.repaired:
            yield f"{self.app}: {_paths(self.repaired)} repaired"
        if not self.left:
            yield f"{self.app}: everything is as the policy {self.policy} wants it"
        elif self.fix and self.as_root:
            yield f"{self.app}: {_paths(self.left)} left, which only you can judge: see above"
        else:
            yield f"{self.app}: {_paths(self.left)} not as the policy {self.policy} wants it"
            yield f"  next: sudo hookd permissions {self.app} --fix"

    def as_json(self) -> dict[str, Any]:
        """What a program is told."""
        return {
            "app": self.app,
            "policy": self.policy,
            "right": not self.left,
            "repaired": self.repaired,
            "left": self.left,
            "places": [_path_json(place) for place in self.places],
        }


def check_permissions(
    app: App, settings: Settings, *, fix: bool = False, worker: str = layout.WORKER, most: int = SHOWN
) -> PermissionReport:
    """Compare an app's files with its policy and, with `fix`, repair what this user may.

    At most `most` findings of each place are kept. Raises OwnershipError, with a hint, when the policy cannot be kept
    on this machine: a user or group is missing, or the file system keeps no ACLs.
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
    judge = repair if fix else find_mismatches
    match rule.reach:
        case "alone":
            yield _path_findings(rule, rule.path, judge(rule.path, rule.policy, recursive=False), most)
        case "tree":
            yield _path_findings(rule, rule.path, judge(rule.path, rule.policy), most)
        case "each":
            yield _path_findings(rule, rule.path, judge(rule.path, rule.policy, recursive=False), most)
            for tree in _trees(rule.path):
                yield _path_findings(rule, tree, judge(tree, rule.policy), most)
        case "look":
            owner = pwd.getpwuid(rule.policy.owner or 0)
            yield _path_findings(rule, rule.path, find_unwritable(rule.path, owner), most)


def _trees(directory: Path) -> list[Path]:
    """Name what stands in a directory, but not what a deployment is building there right now."""
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


def _path_json(place: PathFindings) -> dict[str, Any]:
    findings = [_finding_json(finding) for finding in place.findings]
    return {"path": str(place.path), "count": place.count, "repaired": place.repaired, "findings": findings}


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
