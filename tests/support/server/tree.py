"""A machine's files as the host sees them, with links resolved inside the machine."""

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.support.processes import PROJECT

# Other file systems, and files that Debian itself writes.
PASSING = frozenset(
    (
        *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp"),
        *("/var/log/journal", "/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog", "/var/log/faillog"),
        *(
            "/var/lib/systemd",
            "/var/lib/private",
            "/var/cache/ldconfig",
            "/var/cache/hookd-build",
            "/etc/.updated",
            "/var/.updated",
        ),
    )
)
_MAX_LINKS = 40

Entry = tuple[int, int, int]


def inside(root: Path, name: str, *, last: bool = False) -> Path:
    """Return a path of the machine as a path of the host. Links are resolved inside, the `last` one on demand."""
    done, ahead, links = Path("/"), [part for part in Path(name).parts if part != "/"], 0
    while ahead:
        part = ahead.pop(0)
        here = done.parent if part == ".." else done / part
        found = root / str(here).lstrip("/")
        if not found.is_symlink() or (not ahead and not last):
            done = here
            continue
        links += 1
        if links > _MAX_LINKS:
            raise AssertionError(f"{name} has a loop of links in the machine")
        target = found.readlink()
        done = Path("/") if target.is_absolute() else done
        ahead = [part for part in target.parts if part != "/"] + ahead
    return root / str(done).lstrip("/")


def listed(root: Path, passing: Collection[str] = PASSING) -> dict[str, Entry]:
    """Return mode (kind and bits), owner and group of each path of the machine, without `passing`."""
    return {name: (status.st_mode, status.st_uid, status.st_gid) for name, status in _walk(root, "", passing)}


def checkout_files() -> list[Path]:
    """Return the relative paths of this checkout's committed and new files."""
    argv = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in dict.fromkeys(names) if name and os.path.lexists(PROJECT / name)]


def copy_checkout(to: Path) -> None:
    """Copy this checkout's files, with changes that are not committed and without .git, for root."""
    for name in checkout_files():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target, follow_symlinks=False)
        os.chown(target, 0, 0, follow_symlinks=False)


def _walk(root: Path, above: str, passing: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(f"{root}{above}/") as entries:
        found = [entry for entry in entries if f"{above}/{entry.name}" not in passing]
    for entry in found:
        name = f"{above}/{entry.name}"
        yield name, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, name, passing)
