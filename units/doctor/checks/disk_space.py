"""Disk space: free bytes and inodes against the limits of a deployment."""

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
# Redis and logs need little.
_SYSTEM_LIMITS: Final = Limits(free_mib=100, free_inodes=1000)


@dataclass(frozen=True)
class FreeSpace:
    """Free space on the disk of a path. `inodes` is None on a file system without inode limit."""

    path: Path
    mib: int
    inodes: int | None


def check(context: HostContext) -> Iterator[Finding]:
    """Check the disks of hookd's own directories."""
    limits = [app.limits for app in context.apps] or [Limits()]
    largest = Limits(
        free_mib=max(one.free_mib for one in limits),
        free_inodes=max(one.free_inodes for one in limits),
    )
    yield from check_free_space(read_free_space(context.settings.state), largest)
    for path in filter(None, (context.settings.logs, layout.REDIS_STATE)):
        yield from check_free_space(read_free_space(path), _SYSTEM_LIMITS)


def check_app(_context: HostContext, app: App) -> Iterator[Finding]:
    """Check the disks of an app's directories."""
    for path in {app.root, app.data_root if app.shared.directories else app.root}:
        yield from check_free_space(read_free_space(path), app.limits)


def read_free_space(path: Path) -> FreeSpace | None:
    """Read the free space at a path, or at its nearest parent that exists and can be opened."""
    for place in (path, *path.parents):
        try:
            with disk.open_parent(place) as descriptor:
                found = os.fstatvfs(descriptor)
        except (FileNotFoundError, PermissionError):
            continue
        return FreeSpace(path, found.f_bavail * found.f_frsize // _MIB, found.f_favail if found.f_files else None)
    return None


def check_free_space(space: FreeSpace | None, limits: Limits) -> Iterator[Finding]:
    """Report an error below the limit, and a warning below twice the limit."""
    if space is None:
        return
    path = space.path
    findings = list(
        _check_amount(path, space.mib, limits.free_mib, "MiB", f"sudo du -xh --max-depth=3 {path} | sort -h | tail")
    )
    if space.inodes is not None:
        show_inodes = f"sudo du -x --inodes --max-depth=3 {path} | sort -n | tail"
        findings += _check_amount(path, space.inodes, limits.free_inodes, "inodes", show_inodes)
    yield from findings or [ok(f"{path} has {space.mib} MiB free")]


def _check_amount(path: Path, free: int, limit: int, unit: str, hint: str) -> Iterable[Finding]:
    message = f"{path} has {free} {unit} free, {limit} are required"
    if free < limit:
        return [error(message, hint)]
    return [warning(message, hint)] if free < 2 * limit else []
