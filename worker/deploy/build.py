"""Build a release in a directory of its own, and check that it starts. Nothing points at it yet."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hookd.files.ownership.policies import Policy, environment_policy, release_tree_policy
from hookd.model.deployment import StepName
from hookd.model.ids import release_name
from hookd.model.journal import AppState, Built
from hookd.model.units.phases import check_command
from worker.context import Task
from worker.deploy.programs import check_programs
from worker.deploy.target import Target
from worker.deploy.written import record_release
from worker.environment.prepare import prepare_venv
from worker.errors import CommandFailed, CommitRefused, Killed, refusal
from worker.phase.phases import app_commands, run_build, run_check
from worker.process.run import remove_tree
from worker.release.disk_space import check_remaining_space
from worker.release.files import write_files
from worker.release.git_mirror import GitMirror
from worker.release.links import link_shared
from worker.release.ownership import enforce


class NewRelease(NamedTuple):
    """A release with its environment."""

    name: str
    venv: Path


def build(task: Task, state: AppState, target: Target, mirror: GitMirror, policy: Policy) -> NewRelease:
    """Build the release of a commit: files, links, dependencies, the app's build commands.

    The links come before the code of the push changes the tree. Raises DeployError and removes the release.
    """
    name = release_name(_last_number(task, state) + 1, target.commit)
    partial, release = task.paths.partial(name), task.paths.release(name)
    with _removed_on_failure(partial, release):
        with task.recorder.step(StepName.CHECKOUT, target.commit[:12]):
            write_files(task, mirror, target.commit, partial)
        with task.recorder.step(StepName.SHARED_FILES):
            link_shared(task.app, partial)
        with task.recorder.step(StepName.DEPENDENCIES):
            venv = prepare_venv(task, partial, policy)
        os.rename(partial, release)
        if task.app.build.commands:
            with task.recorder.step(StepName.BUILD):
                run_build(task, release, app_commands(task, release))
    return NewRelease(name, venv)


def check(task: Task, new: NewRelease, target: Target, policy: Policy) -> None:
    """Enforce the owners and modes of a release, check that it starts, and write it to the journal.

    Raises DeployError and removes the release. Raises CommitRefused if the app does not start.
    """
    release = task.paths.release(new.name)
    with _removed_on_failure(release):
        _reject_other_environment(release, new.venv)
        with task.recorder.step(StepName.OWNERSHIP):
            changed = enforce(release, release_tree_policy(policy, task.app.site))
            changed += enforce(new.venv, environment_policy(policy))
            task.recorder.line(f"{changed} files and directories needed another mode, group or ACL")
        record_release(task, new.name)
        check_programs(task, release)
        if check_command(task.app):
            with task.recorder.step(StepName.CHECK):
                _check_start(task, release)
        check_remaining_space(task)
    task.journal.add(Built(**task.stamp(), release=new.name, commit=target.commit))


def _reject_other_environment(release: Path, venv: Path) -> None:
    """Raise CommitRefused if a build replaced the link to its environment, which could lead to any place."""
    try:
        target = os.readlink(release / "venv")
    except OSError:
        target = ""
    if target != os.path.relpath(venv, release):
        raise CommitRefused("the build replaced the link venv in its release")


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


def _check_start(task: Task, release: Path) -> None:
    try:
        run_check(task, release)
    except Killed:
        raise
    except CommandFailed as error:
        check_remaining_space(task)  # A full disk is not the commit's fault.
        raise refusal(error, "the app does not start from this commit") from None
