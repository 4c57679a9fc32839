"""Room on the disks: bytes and inodes, against what a deployment asks for before it starts."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App, Limits
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, warning
from units.system import disk, layout

_MIB: Final = 1024 * 1024
# Redis and logs need little, and must not run out.
_SYSTEM_LIMITS: Final = Limits(free_mib=100, free_inodes=1000)


@dataclass(frozen=True)
class FreeSpace:
    """What is left on the disk of a path; `inodes` is None on a file system that has no such limit."""

    path: Path
    mib: int
    inodes: int | None


def check(subject: HostContext) -> Iterator[Finding]:
    """Look at the disks of hookd's own directories."""
    settings = subject.settings
    most = Limits(
        free_mib=max((app.limits.free_mib for app in subject.apps), default=Limits().free_mib),
        free_inodes=max((app.limits.free_inodes for app in subject.apps), default=Limits().free_inodes),
    )
    yield from _check_path(settings.state, most)
    for path in {settings.logs or settings.state, layout.REDIS_STATE}:
        yield from _check_path(path, _SYSTEM_LIMITS)


def check_app(_subject: HostContext, app: App) -> Iterator[Finding]:
    """Look at the disks of an app's directories."""
    for path in {app.root, app.data_root if app.shared.directories else app.root}:
        yield from _check_path(path, app.limits)


def _check_path(path: Path, limits: Limits) -> Iterator[Finding]:
    room = read_free_space(path)
    if room is not None:
        yield from check_free_space(room, limits)


def read_free_space(path: Path) -> FreeSpace | None:
    """Measure the room at a directory, or at the nearest one above it that others have not closed."""
    for place in (path, *path.parents):
        try:
            with disk.open_parent(place) as descriptor:
                found = os.fstatvfs(descriptor)
        except (FileNotFoundError, PermissionError):
            continue
        return FreeSpace(path, found.f_bavail * found.f_frsize // _MIB, found.f_favail if found.f_files else None)
    return None


def check_free_space(room: FreeSpace, limits: Limits) -> Iterator[Finding]:
    """Compare what is left with what is asked for, and with twice as much."""
    inodes = limits.free_inodes if room.inodes is None else room.inodes
    of_space = f"{room.path} has {room.mib} MiB free, and {limits.free_mib} are asked for"
    of_inodes = f"{room.path} has {inodes} inodes free, and {limits.free_inodes} are asked for"
    largest = f"sudo du -xh --max-depth=3 {room.path} | sort -h | tail"
    most_files = f"sudo du -x --inodes --max-depth=3 {room.path} | sort -n | tail"
    findings = [
        *_check_amount(room.mib, limits.free_mib, of_space, largest),
        *([] if room.inodes is None else _check_amount(inodes, limits.free_inodes, of_inodes, most_files)),
    ]
    yield from findings or [ok(f"{room.path} has {room.mib} MiB free")]


def _check_amount(free: int, wanted: int, what: str, mend: str) -> Iterable[Finding]:
    if free < wanted:
        return [error(f"{what}: no deployment starts", mend)]
    return [warning(f"{what}: soon no deployment starts", mend)] if free < 2 * wanted else []
