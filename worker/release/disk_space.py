"""Check the free space on an app's disks, and write files through to them."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.errors import DeployError
from worker.process.run import SYSTEM_PATH, Command
from worker.release.tree import TreeEntry

_MIB: Final = 1024 * 1024
# A deployment may use most of the space that was required at its start. This part of it must remain.
_REMAINING_PART: Final = 4


def check_free_space(task: Task) -> None:
    """Raise DeployError if a disk is nearly full before the deployment starts."""
    for path in (task.paths.root, task.settings.state):
        _check(path, "are asked for", task.app.limits.free_mib, task.app.limits.free_inodes)


def check_commit_fits(task: Task, entries: list[TreeEntry]) -> None:
    """Raise DeployError if the files of a commit need too much space: a small push can stand for gigabytes."""
    mib = sum(entry.size for entry in entries) // _MIB + task.app.limits.free_mib
    _check(task.paths.root, "are needed for the commit's files", mib, len(entries) + task.app.limits.free_inodes)


def check_sizes_fit(task: Task, *, fetched: Collection[int], written: Collection[int]) -> None:
    """Raise DeployError if files of git-lfs do not fit: those fetched beside the mirror, or the release's copies."""
    for path, sizes in ((task.settings.state, fetched), (task.paths.root, written)):
        mib = sum(sizes) // _MIB + task.app.limits.free_mib
        _check(path, "are needed for the files of git-lfs", mib, len(sizes) + task.app.limits.free_inodes)


def check_remaining_space(task: Task) -> None:
    """Raise DeployError if a disk filled up during the build.

    Some tools do not notice a full disk. Python writes truncated .pyc files (CPython issue 126606), and no later
    process can start with them.
    """
    limits = task.app.limits
    for path in (task.paths.root, task.settings.state):
        _check(path, "must be left", limits.free_mib / _REMAINING_PART, limits.free_inodes / _REMAINING_PART)


def _check(path: Path, requirement: str, mib: float, inodes: float) -> None:
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    if free < mib * _MIB:
        hint = Hint(HintKind.SHOW_DISK_SPACE, str(path))
        raise DeployError(f"{path} has {free // _MIB} MiB free, {mib:.0f} {requirement}", hint=hint)
    if found.f_files and found.f_favail < inodes:
        hint = Hint(HintKind.SHOW_INODES, str(path))
        raise DeployError(f"{path} has {found.f_favail} inodes free, {inodes:.0f} {requirement}", hint=hint)


def flush(task: Task, directory: Path) -> None:
    """Write the file system of a directory to disk, so that a power cut leaves no incomplete files behind."""
    task.run(flush_command(directory))


def flush_command(directory: Path) -> Command:
    """Write the file system of a directory to disk."""
    return Command(("sync", "--file-system", str(directory)), 300, 300, env={"PATH": SYSTEM_PATH})
