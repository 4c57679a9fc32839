"""A control group of its own for each boot of a machine: version 2 alone, as today's servers have it."""

import time
from pathlib import Path

from tests.support.server.room import Room

_SECONDS = 20
_PLACE = "/sys/fs/cgroup"


def mount(opened: Room) -> None:
    """Mount version 2 alone in a room, unless the host has it so."""
    if opened.call("stat", "--file-system", "--format=%T", _PLACE).strip() != "cgroup2fs":
        opened.call("mount", "-t", "cgroup2", "cgroup2", _PLACE)


def make(root: Path, name: str) -> Path:
    """Make a group below the root of a mounted hierarchy and return its directory."""
    _offer_controllers(root)
    group = root / name
    group.mkdir()
    return group


def remove(group: Path, seconds: float = _SECONDS) -> None:
    """Remove a group and its children after their last process ended. Raise OSError after a timeout."""
    end = time.monotonic() + seconds
    while group.exists():
        try:
            for directory in sorted(group.rglob("*/"), reverse=True):
                directory.rmdir()
            group.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def remove_left(prefix: str) -> None:
    """Remove the groups of a killed session, if the host shows them. Raise OSError if they are in use."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    for group in [group for root in roots[:1] for group in root.glob(f"{prefix}*")]:
        remove(group, seconds=3)


def _offer_controllers(root: Path) -> None:
    """Enable all controllers that version 1 does not hold. Limits of the others are not enforced."""
    for controller in (root / "cgroup.controllers").read_text().split():
        try:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue
