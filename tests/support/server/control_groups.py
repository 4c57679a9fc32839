"""A control group of its own for each boot of a machine: version 2 alone, as today's servers have it."""

import time
from pathlib import Path

from tests.support.server.room import Room

_SECONDS = 20
_PLACE = "/sys/fs/cgroup"


def mount(opened: Room) -> None:
    """Let a room see version 2, and nothing else, in the usual place; nothing to do where the host has it so."""
    if opened.call("stat", "--file-system", "--format=%T", _PLACE).strip() != "cgroup2fs":
        opened.call("mount", "-t", "cgroup2", "cgroup2", _PLACE)


def make(root: Path, name: str) -> Path:
    """Make a group below the root of a mounted hierarchy and return its directory."""
    _offer_controllers(root)
    group = root / name
    group.mkdir()
    return group


def remove(group: Path, seconds: float = _SECONDS) -> None:
    """Remove a group and those in it, when their last processes have gone; raises OSError when they do not go."""
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
    """Remove groups of a session that was killed, where the host shows them; raises OSError when they are in use."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    for group in [group for root in roots[:1] for group in root.glob(f"{prefix}*")]:
        remove(group, seconds=3)


def _offer_controllers(root: Path) -> None:
    """Where version 1 holds the controllers, none is on offer: limits on memory are not enforced then."""
    for controller in (root / "cgroup.controllers").read_text().split():
        try:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue
