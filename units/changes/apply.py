"""Applies changes: those that the host misses, each recorded before it is made so that a run can be repeated."""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from units.changes.change import Absent, Change, Changes, File, Link, Run
from units.changes.manifest import Manifest, Resource, ResourceKind
from units.system import disk
from units.system.errors import Refused
from units.system.run import run

Echo = Callable[[str], None]


class Installer:
    """Applies changes to the host. A dry run shows the same ones and makes none.

    `scope` owns the created resources: `host`, or `app:NAME`.
    """

    def __init__(self, manifest: Manifest, scope: str, echo: Echo, *, dry_run: bool = False) -> None:
        self._manifest = manifest
        self._scope = scope
        self.echo = echo
        self.dry_run = dry_run

    def check(self, changes: Changes) -> None:
        """Raise Refused if the changes would replace a foreign file or link."""
        if reasons := conflicts(changes, self._manifest):
            raise Refused(reasons)

    def differences(self, changes: Changes) -> list[Change]:
        """Return the changes that have something to do."""
        pending = set(self._manifest.pending)
        found: list[Change] = []
        for change in changes:
            if isinstance(change, Run):
                is_needed = not change.after or change.argv in pending
                pending.discard(change.argv)
            else:
                is_needed = not change.is_present()
            if is_needed:
                found.append(change)
                pending.update(command.argv for command in _triggered(changes, change))
        return found

    def apply(self, changes: Changes) -> int:
        """Carry out the differences and return how many things changed, commands not counted.

        Raises CommandFailed, UnsafePath, OSError.
        """
        differences = self.differences(changes)
        for change in differences:
            self.echo(f"{'-' if isinstance(change, Absent) else '+'} {change}")
            if not self.dry_run:
                self._apply(change, changes)
        self.disown(change.path for change in changes if isinstance(change, Absent))
        return sum(not isinstance(change, Run) for change in differences)

    def _apply(self, change: Change, changes: Changes) -> None:
        for command in _triggered(changes, change):
            self._manifest.add_pending(command.argv)
        for kind, name in change.creates():
            self._manifest.add(Resource(self._scope, kind, name))
        change.apply()
        if isinstance(change, Run):
            self._manifest.mark_done(change.argv)

    def obsolete_files(self, changes: Changes) -> list[Path]:
        """Return the scope's files and links that the changes do not hold."""
        wanted = {str(change.path) for change in changes if isinstance(change, File | Link)}
        return [Path(old.name) for old in self._manifest.of(self._scope, "file", "link") if old.name not in wanted]

    def disown(self, paths: Iterable[Path]) -> None:
        """Remove files and links from the manifest, and leave them on disk."""
        names = set(map(str, paths))
        for resource in self._manifest.of(self._scope, "file", "link"):
            if resource.name in names:
                self._forget(resource)

    def remove_directories(self, removed: Iterable[Path] = (), but: tuple[Path, ...] = ()) -> list[Path]:
        """Remove the scope's directories. Return those that stay because they hold other files.

        Paths in `but` stay, with everything above and below them. A dry run takes the files in `removed` for gone.
        """
        gone, stays = set(removed), []
        for resource in self._manifest.of(self._scope, "directory", "kept directory"):
            path = Path(resource.name)
            if any(path.is_relative_to(kept) for kept in but):
                continue
            was_present = disk.status(path) is not None
            is_whole = resource.kind == "directory" and not any(kept.is_relative_to(path) for kept in but)
            if is_whole and was_present and not self.dry_run:
                run(("rm", "-rf", "--one-file-system", "--", str(path)))
            elif not is_whole and not self._remove_empty(path, gone):
                stays.append(path)
                continue
            if was_present:
                self.echo(f"- remove     {path}")
            gone.add(path)
            self._forget(resource)
        return stays

    def _remove_empty(self, path: Path, gone: set[Path]) -> bool:
        """Remove a directory, and return False if it is not empty. A dry run compares its content with `gone`."""
        if not self.dry_run:
            return disk.remove_empty(path)
        found = disk.status(path)
        return found is None or (stat.S_ISDIR(found.st_mode) and gone.issuperset(path.iterdir()))

    def _forget(self, resource: Resource) -> None:
        if not self.dry_run:
            self._manifest.forget(resource)


def conflicts(changes: Changes, manifest: Manifest) -> list[str]:
    """Name the foreign files and links that changes would replace."""
    files = [change for change in changes if isinstance(change, File | Link)]
    return [f"{change.path} exists and is not hookd's" for change in files if not _may_replace(change, manifest)]


def _may_replace(change: File | Link, manifest: Manifest) -> bool:
    if isinstance(change, File) and change.existing != "correct":
        return True
    kind: ResourceKind = "file" if isinstance(change, File) else "link"
    return manifest.has(kind, str(change.path)) or disk.status(change.path) is None or change.is_present()


def _triggered(changes: Changes, change: Change) -> list[Run]:
    """Return the commands that this change makes necessary."""
    return [command for command in changes if isinstance(command, Run) and command.is_triggered_by(change)]
