"""Room on the disks of an app: asked for before a deployment starts, before files come in, and when all is built."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.errors import DeployError
from worker.release.git_mirror import TreeEntry

_MIB: Final = 1024 * 1024
_REMAINING_PART: Final = 4


def check_free_space(task: Task) -> None:
    """Refuse to start on a disk that is nearly full; raises DeployError."""
    _check(task, "are asked for", 1)


def check_remaining_space(task: Task) -> None:
    """Trust nothing that was made on a disk that filled up meanwhile; raises DeployError.

    Not all tools notice: Python writes half a .pyc file without a word (CPython issue 126606), and no process that
    meets it later starts. What is asked for at the start may be used up on the way, but for a quarter.
    """
    _check(task, "must be left", _REMAINING_PART)


def _check(task: Task, why: str, part: int) -> None:
    mib, inodes = task.app.limits.free_mib / part, task.app.limits.free_inodes / part
    for place in _places(task):
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
        if free < mib * _MIB:
            raise DeployError(
                f"{place} has {free // _MIB} MiB free, {mib:.0f} {why}", hint=Hint(HintKind.SHOW_DISK_SPACE, str(place))
            )
        if found.f_files and found.f_favail < inodes:
            raise DeployError(
                f"{place} has {found.f_favail} inodes free, {inodes:.0f} {why}",
                hint=Hint(HintKind.SHOW_INODES, str(place)),
            )


def _places(task: Task) -> Iterable[Path]:
    return dict.fromkeys((task.places.root, task.settings.state))


def check_commit_fits(task: Task, entries: list[TreeEntry]) -> None:
    """Refuse a commit that leaves less room than must stay free; a push of a few bytes can stand for gigabytes."""
    needed = sum(entry.size for entry in entries) // _MIB + task.app.limits.free_mib
    found = os.statvfs(task.places.root)
    if found.f_bavail * found.f_frsize // _MIB < needed:
        raise DeployError(f"the commit's files need {needed} MiB with what must stay free; {task.places.root} has less")
    if found.f_files and found.f_favail < len(entries) + task.app.limits.free_inodes:
        raise DeployError(f"the commit has {len(entries)} files; {task.places.root} has too few inodes free for them")
