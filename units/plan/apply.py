"""Carries out a plan: does what is not right yet, remembers first what it is about to bring, and can be run again."""

import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from units.plan.manifest import Manifest, Resource
from units.plan.steps import NOLOGIN, Absent, Directory, File, Group, Link, Plan, Run, Step, User
from units.system import disk
from units.system.errors import Refused
from units.system.run import run

Echo = Callable[[str], None]
_SECONDS: Final = 120


class Installer:
    """Brings a host to a plan; `scope` says for whom, so that it can be taken away again."""

    def __init__(self, manifest: Manifest, scope: str, echo: Echo) -> None:
        self._manifest = manifest
        self._scope = scope
        self._say = echo

    def check(self, plan: Plan) -> None:
        """Raise Refused when something stands in the way that is not hookd's: nothing may be changed then."""
        if reasons := conflicts(plan, self._manifest):
            raise Refused(reasons)

    def obsolete_files(self, plan: Plan) -> list[Path]:
        """Files and links that an earlier plan of this scope brought and this one does not want."""
        wanted = {str(step.path) for step in plan if isinstance(step, File | Link)}
        return [Path(one.name) for one in self._manifest.of(self._scope, "file", "link") if one.name not in wanted]

    def leave(self, paths: Iterable[Path]) -> None:
        """Let these files be somebody else's from now on."""
        for path in paths:
            self._forget(path)

    def remove_directories(self, but: tuple[Path, ...] = ()) -> list[Path]:
        """Remove the scope's directories: whole trees, but for those with what is not hookd's. Returns what is left.

        What is in `but`, above and below it, is not touched.
        """
        for thing in self._manifest.of(self._scope, "directory"):
            path = Path(thing.name)
            if any(path.is_relative_to(one) for one in but):
                continue
            if disk.status(path) is not None:
                self._say(f"+ remove     {_all_but(path, but)}")
                run(_remover(path, but))
            self._manifest.forget(thing)
        for thing in self._manifest.of(self._scope, "kept directory"):
            was_there = disk.status(Path(thing.name)) is not None
            if disk.remove_empty(Path(thing.name)):
                if was_there:
                    self._say(f"+ remove     {thing.name}")
                self._manifest.forget(thing)
        return [Path(thing.name) for thing in self._manifest.of(self._scope, "kept directory")]

    def removable_directories(self, files: Iterable[Path], but: tuple[Path, ...] = ()) -> list[str]:
        """The directories that `remove_directories` is going to remove when these files are gone."""
        paths = [Path(thing.name) for thing in self._manifest.of(self._scope, "directory")]
        whole = [path for path in paths if not any(path.is_relative_to(one) for one in but) and disk.status(path)]
        stays = self.kept_directories(files)
        empty = [Path(thing.name) for thing in self._manifest.of(self._scope, "kept directory")]
        there = (path for path in empty if path not in stays and disk.status(path))
        return [*(_all_but(path, but) for path in whole), *map(str, there)]

    def kept_directories(self, files: Iterable[Path]) -> list[Path]:
        """The directories that `remove_directories` is going to return when these files are gone."""
        stays: list[Path] = []
        gone = set(files)
        for thing in self._manifest.of(self._scope, "kept directory"):
            path = Path(thing.name)
            found = disk.status(path)
            if found is None or (stat.S_ISDIR(found.st_mode) and gone.issuperset(path.iterdir())):
                gone.add(path)
            else:
                stays.append(path)
        return stays

    def preview(self, plan: Plan) -> Iterable[str]:
        """Each step and whether anything is to be done for it."""
        pending = set(self._manifest.pending)
        for step in plan:
            if isinstance(step, Run):
                is_due = not step.after or step.argv in pending
            else:
                is_due = not is_present(step)
                pending |= _pending_commands(plan, step) if is_due else set()
            yield f"{'+ ' if is_due else '  '}{step}"

    def carry_out(self, plan: Plan, *, dry_run: bool, whole: bool = True) -> None:
        """Apply a plan, or only say what that would do; not as a `whole`: only where something is to be done."""
        if not dry_run:
            self.apply(plan)
            return
        for line in self.preview(plan):
            if whole or line.startswith("+"):
                self._say(line)

    def apply(self, plan: Plan) -> int:
        """Do what is to be done; returns how many things were not right. Raises CommandFailed, UnsafePath, OSError."""
        changed = 0
        for step in plan:
            if isinstance(step, Run):
                self._run(step)
            elif not is_present(step):
                for argv in _pending_commands(plan, step):
                    self._manifest.add_pending(argv)
                self._note(step)
                self._say(f"+ {step}")
                _make(step)
                changed += 1
            if isinstance(step, Absent):
                self._forget(step.path)
        return changed

    def _run(self, step: Run) -> None:
        if step.after and step.argv not in self._manifest.pending:
            return
        self._say(f"+ {step}")
        run(step.argv, seconds=_SECONDS)
        self._manifest.mark_done(step.argv)

    def _note(self, step: Step) -> None:
        for thing in self._things(step):
            self._manifest.note(thing)

    def _things(self, step: Step) -> list[Resource]:
        """What of a step is hookd's own doing: what was there before is not taken away later."""
        match step:
            case Group():
                return [Resource(self._scope, "group", step.name)]
            case User():
                made = [] if _user(step.name) else [Resource(self._scope, "user", step.name)]
                missing = [group for group in step.groups if not _is_member(step.name, group)]
                return made + [Resource(self._scope, "member", f"{step.name} {group}") for group in missing]
            case Directory() if disk.status(step.path) is None:
                return [Resource(self._scope, "kept directory" if step.keep else "directory", str(step.path))]
            case File() if not step.keep:
                return [Resource(self._scope, "file", str(step.path))]
            case Link():
                return [Resource(self._scope, "link", str(step.path))]
            case _:
                return []

    def _forget(self, path: Path) -> None:
        for thing in self._manifest.of(self._scope, "file", "link"):
            if thing.name == str(path):
                self._manifest.forget(thing)


def _inside(path: Path, but: Iterable[Path]) -> list[Path]:
    return [one for one in but if one.is_relative_to(path)]


def _all_but(path: Path, but: Iterable[Path]) -> str:
    """A directory that goes, with what stays of it."""
    inside = ", ".join(map(str, _inside(path, but)))
    return f"{path} (but for {inside})" if inside else str(path)


def _remover(path: Path, but: Iterable[Path]) -> tuple[str, ...]:
    """What removes a tree, but for what is to stay in it; that is only asked of directories of root's."""
    if not (inside := _inside(path, but)):
        return ("rm", "-rf", "--one-file-system", "--", str(path))
    stays = dict.fromkeys(place for one in inside for place in (*one.parents, one) if place.is_relative_to(path))
    passing = (word for place in stays for word in ("!", "-path", str(place)))
    return ("find", str(path), "-xdev", "-depth", *passing, "-delete")


def conflicts(plan: Plan, manifest: Manifest) -> list[str]:
    """Name every file and link that a plan would replace and that is not hookd's."""
    files = [step for step in plan if isinstance(step, File | Link)]
    return [f"{step.path} is there already, and not from hookd" for step in files if not _may_replace(step, manifest)]


def _may_replace(step: File | Link, manifest: Manifest) -> bool:
    if isinstance(step, File) and step.once:
        return True
    known = manifest.has("file" if isinstance(step, File) else "link", str(step.path))
    return known or disk.status(step.path) is None or is_present(step)


def _pending_commands(plan: Plan, step: Step) -> set[tuple[str, ...]]:
    """The commands of a plan that must be run when a step changes something."""
    path: Path | None = getattr(step, "path", None)
    commands = [one for one in plan if isinstance(one, Run)]
    return {one.argv for one in commands if path and any(path.is_relative_to(place) for place in one.after)}


def is_present(step: Step) -> bool:
    """Tell whether a step has nothing to do; a command always has."""
    match step:
        case Group():
            return _group(step.name) is not None
        case User():
            return _user(step.name) is not None and all(_is_member(step.name, group) for group in step.groups)
        case Directory():
            found = disk.status(step.path)
            if step.once and step.path.is_dir():
                return True
            return found is not None and stat.S_ISDIR(found.st_mode) and _has_wanted_owner(step, found)
        case File():
            return _is_file_present(step)
        case Link():
            return disk.read_link(step.path) == step.target
        case Absent():
            return disk.status(step.path) is None
        case Run():
            return False


def _is_file_present(file: File) -> bool:
    found = disk.status(file.path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    if file.once:
        return not file.owned or _has_wanted_owner(file, found)
    return _has_wanted_owner(file, found) and disk.read(file.path) == file.text.encode()


def _has_wanted_owner(step: Directory | File, found: os.stat_result) -> bool:
    """Compare with the plan; a user or group that is not made yet fits nothing."""
    if _user(step.owner) is None or _group(step.group) is None:
        return False
    return _wanted_owner(step).fits(found)


def _make(step: Step) -> None:
    match step:
        case Group():
            run(("groupadd", "--system", step.name))
        case User():
            _make_user(step)
        case Directory():
            disk.make_directory(step.path, _wanted_owner(step))
        case File():
            there = disk.read(step.path) if step.once else None
            disk.write(step.path, step.text.encode() if there is None else there, _wanted_owner(step), _checker(step))
        case Link():
            disk.link(step.path, step.target)
        case Absent():
            disk.remove(step.path)
        case Run():
            raise AssertionError("commands are run, not made")


def _checker(file: File) -> Callable[[str], object]:
    return (lambda path: run((*file.check, path))) if file.check else bool


def _make_user(user: User) -> None:
    if _user(user.name) is None:
        run(
            (
                "useradd", "--system", "--gid", user.group, "--home-dir", str(user.home), "--no-create-home",
                "--shell", NOLOGIN, user.name,
            )
        )  # fmt: skip
    for group in user.groups:
        if not _is_member(user.name, group):
            run(("usermod", "--append", "--groups", group, user.name))


def _wanted_owner(step: Directory | File) -> disk.Owner:
    return disk.Owner(pwd.getpwnam(step.owner).pw_uid, grp.getgrnam(step.group).gr_gid, step.mode)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _is_member(user: str, group: str) -> bool:
    account, found = _user(user), _group(group)
    return account is not None and found is not None and (user in found.gr_mem or account.pw_gid == found.gr_gid)
