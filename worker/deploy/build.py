"""Builds a release aside: files, dependencies, links, the app's own commands, the proof that it starts, ownership."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from hookd.files.policies import Policy
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
from worker.release.ownership import FIX_PERMISSIONS, enforce, enforce_environment
from worker.release.shared_files import link_shared, reject_escaping_links, reject_reserved_paths
from worker.release.venv import prepare_venv


def build(task: Task, state: AppState, target: Target, checkout: GitMirror, policy: Policy) -> str:
    """Build the release of a commit and return its name; nothing points at it yet.

    Raises DeployError; what was built so far is then removed.
    """
    name = release_name(_last_number(task, state) + 1, target.commit)
    partial, final = task.places.partial(name), task.places.release(name)
    try:
        _write_release(task, target, checkout, partial, policy)
        os.rename(partial, final)
        _check_release(task, final, policy)
    except BaseException:
        for leftover in (partial, final):
            with suppress(CommandFailed):
                remove_tree(leftover)
        raise
    task.journal.add(Built(at=datetime.now(UTC), deployment=task.deployment.id, release=name, commit=target.commit))
    return name


def _last_number(task: Task, state: AppState) -> int:
    """The highest number taken: in the journal, or on disk by what a killed deployment or a lost journal left there."""
    found = (re.match(r"\.?([0-9]{6})-", entry.name) for entry in task.places.releases.iterdir())
    return max([state.last_number, *(int(match[1]) for match in found if match)])


def _write_release(task: Task, target: Target, checkout: GitMirror, release: Path, policy: Policy) -> None:
    """Write the files, make the environment and link everything, in a directory that has no name yet."""
    with task.recorder.step(StepName.CHECKOUT, target.commit[:12]):
        release.mkdir(parents=True)
        entries = checkout.list_tree(target.commit)
        reject_reserved_paths(task.app, entries)
        check_commit_fits(task, entries)
        checkout.write(target.commit, release)
        reject_escaping_links(release, entries)
        for entry in (entry for entry in entries if entry.is_submodule):
            task.recorder.line(f"{entry.path} is a submodule and stays empty")
    with task.recorder.step(StepName.DEPENDENCIES):
        venv = prepare_venv(task, release, policy)
        (release / "venv").symlink_to(os.path.relpath(venv, release))
    with task.recorder.step(StepName.SHARED_FILES):
        link_shared(task.app, release)


def _check_release(task: Task, release: Path, policy: Policy) -> None:
    """Run what runs in the release, then set what it left right, then see that the app can start."""
    environment = task.environment(release)
    if task.app.build.commands:
        with task.recorder.step(StepName.BUILD):
            for argv in task.app.build.commands:
                task.run(app_command(argv, release, environment, task.app.limits))
    command = preflight_command(task.app, release, environment)
    if command is not None:
        with task.recorder.step(StepName.PREFLIGHT):
            _run_preflight(task, command)
    with task.recorder.step(StepName.OWNERSHIP):
        changed = enforce(release, policy, FIX_PERMISSIONS)
        changed += enforce_environment((release / "venv").resolve(), policy, FIX_PERMISSIONS)
        task.recorder.line(f"{changed} files and directories needed another mode, group or ACL")
    check_remaining_space(task)


def _run_preflight(task: Task, command: Command) -> None:
    try:
        task.run(command)
    except CommandFailed as error:
        check_remaining_space(task)
        last = f": {error.lines[-1]}" if error.lines else f": {error.cause}"
        raise CommitRefused(f"the app does not start from this commit{last}") from None


def run_release_commands(task: Task, release: Path, policy: Policy) -> None:
    """Run the app's last commands, such as migrations, and set right what they wrote; raises DeployError."""
    if not task.app.build.release_commands:
        return
    with task.recorder.step(StepName.RELEASE_COMMANDS):
        for argv in task.app.build.release_commands:
            task.run(app_command(argv, release, task.environment(release), task.app.limits))
        enforce(release, policy, FIX_PERMISSIONS)


def app_command(argv: tuple[str, ...], release: Path, env: Mapping[str, str], limits: Limits) -> Command:
    """A command of the app's own, run in its release."""
    return Command(argv, limits.step_seconds, limits.silence_seconds, release, env)


def preflight_command(app: App, release: Path, env: Mapping[str, str]) -> Command | None:
    """The command that proves that the release can start; None when the app's config says so."""
    argv = app.service.preflight
    if argv is None:
        argv = ("gunicorn", "--check-config", app.service.entry)
    return app_command(argv, release, env, app.limits) if argv else None
