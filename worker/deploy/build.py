"""Build a release in a directory of its own, and check that it starts. Nothing points at it yet."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hookd.files.policies import Policy, environment_policy
from hookd.model.app import App, Limits
from hookd.model.deployment import StepName
from hookd.model.ids import release_name
from hookd.model.journal import AppState, Built
from worker.context import Task
from worker.deploy.target import Target
from worker.errors import CommandFailed, CommitRefused
from worker.process.run import Command, remove_tree
from worker.release.disk_space import check_commit_fits, check_remaining_space
from worker.release.git_mirror import GitMirror
from worker.release.links import link_shared, reject_escaping_links, reject_reserved_paths
from worker.release.ownership import enforce
from worker.release.venv import prepare_venv


def build(task: Task, state: AppState, target: Target, mirror: GitMirror, policy: Policy) -> str:
    """Build the release of a commit and return its name: files, dependencies, links, the app's build commands.

    Raises DeployError and removes the release.
    """
    name = release_name(_last_number(task, state) + 1, target.commit)
    partial, release = task.paths.partial(name), task.paths.release(name)
    with _removed_on_failure(partial, release):
        _write_files(task, target, mirror, partial)
        with task.recorder.step(StepName.DEPENDENCIES):
            venv = prepare_venv(task, partial, policy)
            (partial / "venv").symlink_to(os.path.relpath(venv, partial))
        with task.recorder.step(StepName.SHARED_FILES):
            link_shared(task.app, partial)
        os.rename(partial, release)
        if task.app.build.commands:
            with task.recorder.step(StepName.BUILD):
                _run_all(task, task.app.build.commands, release)
    return name


def check(task: Task, name: str, target: Target, policy: Policy) -> None:
    """Check that a release starts, enforce its owners and modes, and write it to the journal.

    Raises DeployError and removes the release. Raises CommitRefused if the app does not start.
    """
    release = task.paths.release(name)
    with _removed_on_failure(release):
        command = preflight_command(task.app, release, task.environment(release))
        if command is not None:
            with task.recorder.step(StepName.PREFLIGHT):
                _run_preflight(task, command)
        with task.recorder.step(StepName.OWNERSHIP):
            changed = enforce(release, policy)
            changed += enforce((release / "venv").resolve(), environment_policy(policy))
            task.recorder.line(f"{changed} files and directories needed another mode, group or ACL")
        check_remaining_space(task)
    task.journal.add(Built(**task.stamp(), release=name, commit=target.commit))


def run_release_commands(task: Task, release: Path, policy: Policy) -> None:
    """Run the app's release commands, such as migrations, and enforce the modes of their files. Raises DeployError."""
    if not task.app.build.release_commands:
        return
    with task.recorder.step(StepName.RELEASE_COMMANDS):
        _run_all(task, task.app.build.release_commands, release)
        enforce(release, policy)


@contextmanager
def _removed_on_failure(*directories: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for directory in directories:
            with suppress(CommandFailed):
                remove_tree(directory)
        raise


def _last_number(task: Task, state: AppState) -> int:
    """Return the highest release number in the journal and on disk: the journal may be lost or a release incomplete."""
    found = (re.match(r"\.?([0-9]{6})-", entry.name) for entry in task.paths.releases.iterdir())
    return max([state.last_number, *(int(match[1]) for match in found if match)])


def _write_files(task: Task, target: Target, mirror: GitMirror, release: Path) -> None:
    with task.recorder.step(StepName.CHECKOUT, target.commit[:12]):
        release.mkdir(parents=True)
        entries = mirror.list_tree(target.commit)
        reject_reserved_paths(task.app, entries)
        check_commit_fits(task, entries)
        mirror.write(target.commit, release)
        reject_escaping_links(release, entries)
        for entry in (entry for entry in entries if entry.is_submodule):
            task.recorder.line(f"{entry.path} is a submodule and stays empty")


def _run_all(task: Task, commands: tuple[tuple[str, ...], ...], release: Path) -> None:
    for argv in commands:
        task.run(app_command(argv, release, task.environment(release), task.app.limits))


def _run_preflight(task: Task, command: Command) -> None:
    try:
        task.run(command)
    except CommandFailed as error:
        check_remaining_space(task)  # A full disk is not the commit's fault.
        cause = error.lines[-1] if error.lines else error.cause
        raise CommitRefused(f"the app does not start from this commit: {cause}") from None


def app_command(argv: tuple[str, ...], release: Path, env: Mapping[str, str], limits: Limits) -> Command:
    """Run a command of the app in its release."""
    return Command(argv, limits.step_seconds, limits.silence_seconds, release, env)


def preflight_command(app: App, release: Path, env: Mapping[str, str]) -> Command | None:
    """Return the command that checks if the release starts, or None if the app's configuration turns it off."""
    argv = app.service.preflight
    if argv is None:
        argv = ("gunicorn", "--check-config", app.service.entry)
    return app_command(argv, release, env, app.limits) if argv else None
