"""Prune old releases, unused environments, the leftovers of killed deployments, and old records and logs."""

import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.in_use import release_users
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.journal import AppState, Removed
from hookd.model.settings import KEPT, Settings
from hookd.model.tables.service import COLOURS
from hookd.queue.deployments import DeploymentStore
from worker.context import Task
from worker.deploy.written import forget_written, keep_written
from worker.errors import CommandFailed
from worker.process.run import remove_tree
from worker.release.in_use import releases_in_use

# The newest environments of no release stay for a while: the next try of a failed release needs them.
_KEPT_UNUSED: Final = 2
_UNUSED_SECONDS: Final = 86_400
log: Final = logging.getLogger(__name__)


def prune(task: Task) -> None:
    """Remove old releases, except those that a process works in, and old environments of no release.

    The newest good releases, the current one and the previous good one stay. An error is a warning in the log, because
    the deployment has ended already.
    """
    try:
        state = task.journal.state()
        for directory in _old_releases(task, state):
            _remove_release(task, state, directory)
        forget_written(task)
        for venv in _old_venvs(task):
            _remove(task, "environment", venv)
        task.journal.shorten()
    except (CommandFailed, OSError) as error:
        _warn(task, "pruning stopped", error)


def prune_incomplete(task: Task, state: AppState) -> None:
    """Remove the incomplete releases, environments and links of a killed deployment, before disk space is checked."""
    try:
        for directory in _incomplete_releases(task, state):
            _remove(task, "incomplete release", directory)
        for venv in _unused_venvs(task):
            if not (venv / COMPLETE_MARK).exists():
                _remove(task, "incomplete environment", venv)
        for link in ("current", *COLOURS, "next"):
            for leftover in (path for path in task.paths.root.glob(f".{link}.*") if path.is_symlink()):
                leftover.unlink()
    except OSError as error:
        _warn(task, "pruning incomplete releases stopped", error)


def _old_releases(task: Task, state: AppState) -> list[Path]:
    """Return the releases to remove. Raises CommandFailed if nobody knows which are in use."""
    kept = kept_releases(state, task.app.limits.keep_releases)
    old = [directory for directory in _directories(task.paths.releases) if directory.name not in kept]
    used = releases_in_use(task) if old else set()
    for directory in (directory for directory in old if directory.name in used):
        task.recorder.line(f"the release {directory.name} stays, because a process works in it")
    return [directory for directory in old if directory.name not in used]


def _remove_release(task: Task, state: AppState, directory: Path) -> None:
    """Remove a release, and keep the files that the app wrote into it."""
    name = directory.name
    try:
        keep_written(task, name)
    except OSError as error:
        _warn(task, f"the release {name} stays, because files written into it cannot be kept", error)
        return
    _remove(task, "release", directory, is_known=state.release(name) is not None)
    task.paths.record(name).unlink(missing_ok=True)
    if state.release(name) is not None:
        # Nothing can serve from the rest of it.
        task.journal.add(Removed(**task.stamp(), release=name))


def prune_history(store: DeploymentStore, settings: Settings, app: str) -> None:
    """Remove old records and logs. An error is logged, because the ending is recorded already."""
    history = settings.history
    before = datetime.now(UTC) - timedelta(days=history.days)
    try:
        store.delete_old(app, keep=history.keep, before=before)
        # The names sort by time, so the oldest logs go also after Redis has lost the records.
        for number, path in enumerate(sorted(settings.log_directory(app).glob("*.log"), reverse=True)):
            if number >= history.keep or path.stat().st_mtime < before.timestamp():
                path.unlink()
    except (RedisError, OSError) as error:
        event(log, "old records stay", logging.WARNING, app=app, why=str(error))


def _incomplete_releases(task: Task, state: AppState) -> list[Path]:
    """Return releases that were not finished: without a final name, or newer than the journal."""
    incomplete = list(task.paths.releases.glob(".*.partial"))
    for directory in _directories(task.paths.releases):
        number = directory.name.split("-")[0]
        if number.isdigit() and int(number) > state.last_number:
            incomplete.append(directory)
    if not incomplete:
        return []
    needed = {os.path.realpath(task.paths.root / link) for link in ("current", *COLOURS)}
    used = release_users(str(task.paths.root))
    return [path for path in incomplete if path.name not in used and os.path.realpath(path) not in needed]


def _warn(task: Task, what: str, error: OSError | CommandFailed, hint: str = "") -> None:
    task.recorder.line(f"warning: {what}: {error}" + (f"; next: {hint}" if hint else ""))
    event(log, "not pruned", logging.WARNING, app=task.app.name, what=what, why=str(error))


def kept_releases(state: AppState, keep: int) -> set[str]:
    """Return the names of the releases that stay. Only good releases count."""
    named = {release.name for release in (state.deployed, state.previous_good) if release is not None}
    return named | set(state.good_order[-keep:])


def _old_venvs(task: Task) -> list[Path]:
    """Return the environments to remove: of no release, and neither complete, young nor among the newest."""
    unused = _unused_venvs(task)
    made = {venv: (venv / COMPLETE_MARK).lstat().st_mtime for venv in unused if (venv / COMPLETE_MARK).exists()}
    newest = sorted(made, key=lambda venv: made[venv])[-_KEPT_UNUSED:]
    young = [venv for venv in newest if time.time() - made[venv] < _UNUSED_SECONDS]
    return [venv for venv in unused if venv not in young]


def _unused_venvs(task: Task) -> list[Path]:
    """Return the environments that no release links to."""
    needed = {os.path.realpath(link) for link in task.paths.releases.glob("*/venv")}
    return [venv for venv in _directories(task.paths.venvs) if os.path.realpath(venv) not in needed]


def _directories(place: Path) -> list[Path]:
    """Return the directories below a directory. Files and links there are not hookd's."""
    found = (entry for entry in place.glob("*") if entry.name != KEPT)
    return sorted(entry for entry in found if entry.is_dir() and not entry.is_symlink())


def _remove(task: Task, kind: str, directory: Path, *, is_known: bool = True) -> None:
    """Remove a tree, or log a warning so that the others are still removed.

    The rest of an earlier removal is not known any more, and needs no second warning.
    """
    try:
        remove_tree(directory)
    except CommandFailed as error:
        if is_known:
            hint = render_hint(Hint(HintKind.FIX_PERMISSIONS), task.app.name)
            _warn(task, f"a rest of the {kind} {directory.name} stays", error, hint)
        return
    task.recorder.line(f"removed the {kind} {directory.name}")
