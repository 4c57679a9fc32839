"""Carries out a plan: applies its differences, and records each one before the change so that a run can be repeated."""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from units.plan.manifest import Manifest, Resource, ResourceKind
from units.plan.steps import Absent, File, Link, Plan, PlanStep, Run
from units.system import disk
from units.system.errors import Refused
from units.system.run import run

Echo = Callable[[str], None]


class Installer:
    """Brings the host to a plan. A dry run shows the same changes and makes none.

    `scope` owns the created resources: `host`, or `app:NAME`.
    """

    def __init__(self, manifest: Manifest, scope: str, echo: Echo, *, dry_run: bool = False) -> None:
        self._manifest = manifest
        self._scope = scope
        self.echo = echo
        self.dry_run = dry_run

    def check(self, plan: Plan) -> None:
        """Raise Refused if the plan would replace a foreign file or link."""
        if reasons := conflicts(plan, self._manifest):
            raise Refused(reasons)

    def differences(self, plan: Plan) -> list[PlanStep]:
        """Return the steps of a plan that have something to do."""
        pending = set(self._manifest.pending)
        found: list[PlanStep] = []
        for step in plan:
            if isinstance(step, Run):
                is_needed = not step.after or step.argv in pending
                pending.discard(step.argv)
            else:
                is_needed = not step.is_present()
            if is_needed:
                found.append(step)
                pending.update(command.argv for command in _triggered(plan, step))
        return found

    def apply(self, plan: Plan) -> int:
        """Carry out the differences and return how many things changed, commands not counted.

        Raises CommandFailed, UnsafePath, OSError.
        """
        differences = self.differences(plan)
        for step in differences:
            self.echo(f"{'-' if isinstance(step, Absent) else '+'} {step}")
            if not self.dry_run:
                self._apply(step, plan)
        self.disown(step.path for step in plan if isinstance(step, Absent))
        return sum(not isinstance(step, Run) for step in differences)

    def _apply(self, step: PlanStep, plan: Plan) -> None:
        for command in _triggered(plan, step):
            self._manifest.add_pending(command.argv)
        for kind, name in step.creates():
            self._manifest.add(Resource(self._scope, kind, name))
        step.apply()
        if isinstance(step, Run):
            self._manifest.mark_done(step.argv)

    def obsolete_files(self, plan: Plan) -> list[Path]:
        """Return the scope's files and links that the plan does not hold."""
        wanted = {str(step.path) for step in plan if isinstance(step, File | Link)}
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


def conflicts(plan: Plan, manifest: Manifest) -> list[str]:
    """Name the foreign files and links that a plan would replace."""
    files = [step for step in plan if isinstance(step, File | Link)]
    return [f"{step.path} exists and is not hookd's" for step in files if not _may_replace(step, manifest)]


def _may_replace(step: File | Link, manifest: Manifest) -> bool:
    if isinstance(step, File) and step.existing != "correct":
        return True
    kind: ResourceKind = "file" if isinstance(step, File) else "link"
    return manifest.has(kind, str(step.path)) or disk.status(step.path) is None or step.is_present()


def _triggered(plan: Plan, step: PlanStep) -> list[Run]:
    """Return the commands of a plan that a change by this step makes necessary."""
    return [command for command in plan if isinstance(command, Run) and command.is_triggered_by(step)]
