"""Removes what is no longer needed: old releases, unused environments, what a killed deployment left half-built."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd.eventlog import event
from hookd.model.journal import AppState, Removed
from worker.context import Task
from worker.errors import CommandFailed
from worker.process.run import remove_tree
from worker.release.venv import COMPLETE_MARK

log: Final = logging.getLogger(__name__)


def prune(task: Task, state: AppState) -> None:
    """Keep the newest good releases, the current and the previous good one, and what a live process uses.

    A failure here is a warning in the log: the deployment has succeeded.
    """
    try:
        kept = kept_releases(state, task.app.limits.keep_releases) | set(_entries_in_use(task.places.releases))
        _remove_releases(task, state, kept)
        _remove_venvs(task)
        task.journal.shorten()
    except OSError as error:
        _warn(task, "cleaning up stopped", error)


def prune_incomplete(task: Task, state: AppState) -> None:
    """Remove what a killed deployment left half-built, before anything asks how much room there is.

    Only what nobody can need: releases that were never complete, environments likewise, links on their way.
    """
    try:
        for kind, directory in [*_incomplete_releases(task, state), *_incomplete_venvs(task)]:
            _remove(task, kind, directory)
        for link in ("current", "blue", "green"):
            for leftover in (path for path in task.places.root.glob(f".{link}.*") if path.is_symlink()):
                leftover.unlink()
    except OSError as error:
        _warn(task, "clearing up stopped", error)


def _incomplete_releases(task: Task, state: AppState) -> list[tuple[str, Path]]:
    """Those without a name yet, and those that were being proved: newer than all that the journal knows."""
    half = list(task.places.releases.glob(".*.partial"))
    for directory in _directories(task.places.releases):
        number = directory.name.split("-")[0]
        if number.isdigit() and int(number) > state.last_number:
            half.append(directory)
    if not half:
        return []
    needed = {os.path.realpath(task.places.root / link) for link in ("current", "blue", "green")}
    used = set(_entries_in_use(task.places.releases))
    return [("half release", one) for one in half if one.name not in used and os.path.realpath(one) not in needed]


def _incomplete_venvs(task: Task) -> list[tuple[str, Path]]:
    half = [venv for venv in _directories(task.places.venvs) if not (venv / COMPLETE_MARK).exists()]
    return [("half environment", venv) for venv in _unused_venvs(task, half)]


def _warn(task: Task, what: str, error: OSError | CommandFailed) -> None:
    task.recorder.line(f"warning: {what}: {error}")
    event(log, "not cleaned up", logging.WARNING, app=task.app.name, what=what, why=str(error))


def kept_releases(state: AppState, keep: int) -> set[str]:
    """Name the releases that stay; only good ones count."""
    kept = set(state.good_order[-keep:])
    kept |= {release.name for release in (state.deployed, state.previous_good) if release is not None}
    return kept


def _remove_releases(task: Task, state: AppState, kept: set[str]) -> None:
    for directory in _directories(task.places.releases):
        if directory.name not in kept and _remove(task, "release", directory) and state.release(directory.name):
            task.journal.add(Removed(at=datetime.now(UTC), deployment=task.deployment.id, release=directory.name))


def _remove_venvs(task: Task) -> None:
    for venv in _unused_venvs(task, _directories(task.places.venvs)):
        _remove(task, "environment", venv)


def _unused_venvs(task: Task, venvs: list[Path]) -> list[Path]:
    """Those of some environments that no release leads to and no process uses."""
    if not venvs:
        return []
    needed = {os.path.realpath(link) for link in task.places.releases.glob("*/venv")}
    used = set(_entries_in_use(task.places.venvs))
    return [venv for venv in venvs if str(venv.resolve()) not in needed and venv.name not in used]


def _directories(place: Path) -> list[Path]:
    """List the directories of a place; a file or a link there is not hookd's."""
    return sorted(entry for entry in place.glob("*") if entry.is_dir() and not entry.is_symlink())


def _remove(task: Task, kind: str, directory: Path) -> bool:
    """Remove a tree; one that cannot be removed is no reason to keep the others."""
    try:
        remove_tree(directory)
    except CommandFailed as error:
        _warn(task, f"the {kind} {directory.name} stays", error)
        return False
    task.recorder.line(f"removed the {kind} {directory.name}")
    return True


def _entries_in_use(directory: Path) -> Iterator[str]:
    """Name the entries of a directory that a live process runs in or from, as far as this user may see."""
    base = os.path.realpath(directory)
    for process in Path("/proc").glob("[0-9]*"):
        for place in _process_paths(process):
            if place.startswith(f"{base}/"):
                yield place[len(base) + 1 :].split("/")[0]


def _process_paths(process: Path) -> Iterator[str]:
    for link in ("cwd", "exe"):
        try:
            yield os.readlink(process / link)
        except OSError:
            continue
    try:
        maps = (process / "maps").read_text(errors="surrogateescape")
        yield from {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/" in line}
    except (OSError, IndexError):
        return
