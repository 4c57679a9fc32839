"""`hookd permissions APP`: what is not right for an app, file by file, and its repair."""

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hookd.files.audit import Drift, Fault, Foreign, drift, foreign, mend
from hookd.files.policies import (
    PRIVATE,
    SHUT,
    OwnershipError,
    Policy,
    code_policy,
    data_policy,
    environment_policy,
    secret_policy,
    user_of,
)
from hookd.files.safe_open import Odd, itself, opened, shown
from hookd.model.app import App
from hookd.model.paths import Places
from hookd.model.settings import Settings
from units.system import layout

# A path alone, a tree, every tree in a directory, or a tree of the app's own, which is only looked at.
Reach = Literal["alone", "tree", "each", "look"]


@dataclass(frozen=True)
class Rule:
    """A path, its policy, how far that reaches, and whether something must be there."""

    path: Path
    policy: Policy
    reach: Reach = "alone"
    needed: bool = False


def rules(app: App, settings: Settings, worker: pwd.struct_passwd) -> tuple[Rule, ...]:
    """Say what is to be right for an app; raises OwnershipError for a user or group that does not exist."""
    places = Places(app.root, settings, app.name)
    code = code_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    return (
        Rule(places.root, code, needed=True),
        Rule(places.releases, code, "each"),
        Rule(places.venvs, environment_policy(code), "each"),
        *_shared(app, worker, code),
        *_data(app),
        *_state(app, settings, places, worker),
    )


def _shared(app: App, worker: pwd.struct_passwd, code: Policy) -> Iterator[Rule]:
    secret = secret_policy(app.ownership, worker.pw_uid, worker.pw_gid)
    if app.shared_root.is_relative_to(app.root):
        yield Rule(app.shared_root, code)
    for name in app.shared.files:
        yield Rule(app.shared_root / name, secret, needed=True)


def _data(app: App) -> Iterator[Rule]:
    """The app's own directories: each itself is set right; what the app put into it is the app's."""
    for name in app.shared.directories:
        policy = data_policy(app.ownership)
        yield Rule(app.data_root / name, policy)
        yield Rule(app.data_root / name, policy, "look")


def _state(app: App, settings: Settings, places: Places, worker: pwd.struct_passwd) -> Iterator[Rule]:
    """What only the worker uses: a file of root's in it, left by a command typed as root, stops every deployment."""
    mine = Policy(worker.pw_uid, None)
    if app.deploy_key is not None:
        yield Rule(app.deploy_key, Policy(worker.pw_uid, worker.pw_gid, PRIVATE), needed=True)
    if app.build.environment_file == layout.app_environment(app.name):
        # Root's own: systemd reads it as root, so nobody else may say what it is.
        yield Rule(layout.app_environment(app.name), Policy(0, worker.pw_gid, SHUT), needed=True)
    yield from (Rule(path, mine) for path in (settings.state, places.journal, places.lock))
    trees = (places.mirror, places.cache, places.home, settings.log_directory(app.name))
    yield from (Rule(path, mine, "tree") for path in trees)


SHOWN: Final = 20


@dataclass(frozen=True)
class Place:
    """What was found in one place: the first findings, and how many there are and were repaired in all."""

    path: Path
    findings: tuple[Fault | Foreign, ...]
    count: int
    repaired: int

    def lines(self) -> Iterator[str]:
        """The findings, one a line, and how many more there are."""
        yield from (str(finding) for finding in self.findings)
        if self.count > len(self.findings):
            yield f"… and {self.count - len(self.findings)} more in {shown(str(self.path))}"


@dataclass(frozen=True)
class Report:
    """What is not right for an app, or was not: with `fix` it is repaired as far as this user may."""

    app: str
    policy: str
    fix: bool
    as_root: bool
    places: tuple[Place, ...]

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
            "places": [_place_json(place) for place in self.places],
        }


def permissions(
    app: App, settings: Settings, *, fix: bool = False, worker: str = layout.WORKER, most: int = SHOWN
) -> Report:
    """Compare an app's files with its policy and, with `fix`, repair what this user may.

    At most `most` findings of each place are kept. Raises OwnershipError, with a hint, when the policy cannot be kept
    on this machine: a user or group is missing, or the file system keeps no ACLs.
    """
    found = (_judged(rule, fix, most) for rule in rules(app, settings, _account(worker)))
    places = tuple(place for several in found for place in several if place.count)
    return Report(app.name, app.ownership.policy, fix, os.geteuid() == 0, places)


def _account(worker: str) -> pwd.struct_passwd:
    try:
        return user_of(worker)
    except OwnershipError as error:
        raise OwnershipError(error.cause, hint="sudo hookd setup") from None


def _judged(rule: Rule, fix: bool, most: int) -> Iterator[Place]:
    judge = mend if fix else drift
    match rule.reach:
        case "alone":
            yield _place(rule, rule.path, judge(rule.path, rule.policy, alone=True), most)
        case "tree":
            yield _place(rule, rule.path, judge(rule.path, rule.policy), most)
        case "each":
            yield _place(rule, rule.path, judge(rule.path, rule.policy, alone=True), most)
            for tree in _trees(rule.path):
                yield _place(rule, tree, judge(tree, rule.policy), most)
        case "look":
            owner = pwd.getpwuid(rule.policy.owner or 0)
            yield _place(rule, rule.path, foreign(rule.path, owner), most)


def _trees(directory: Path) -> list[Path]:
    """Name what stands in a directory, but not what a deployment is building there right now."""
    with suppress(OSError), opened(directory) as descriptor, os.scandir(itself(descriptor)) as found:
        return sorted(directory / entry.name for entry in found if not entry.name.startswith("."))
    return []


def _place(rule: Rule, path: Path, findings: Iterable[Fault | Foreign], most: int) -> Place:
    kept: list[Fault | Foreign] = []
    count = repaired = 0
    for finding in findings:
        if isinstance(finding, Odd) and finding.kind == "missing" and not rule.needed:
            continue
        count += 1
        repaired += isinstance(finding, Drift) and finding.repaired
        if len(kept) < most:
            kept.append(finding)
    return Place(path, tuple(kept), count, repaired)


def _paths(count: int) -> str:
    return "1 path" if count == 1 else f"{count} paths"


def _place_json(place: Place) -> dict[str, Any]:
    findings = [_finding_json(finding) for finding in place.findings]
    return {"path": str(place.path), "count": place.count, "repaired": place.repaired, "findings": findings}


def _finding_json(finding: Fault | Foreign) -> dict[str, Any]:
    if not isinstance(finding, Drift):
        return {"path": finding.path, "problem": str(finding)}
    return {
        "path": finding.path,
        "found": str(finding.found),
        "wanted": str(finding.wanted),
        "obstacle": finding.obstacle,
        "repaired": finding.repaired,
    }
