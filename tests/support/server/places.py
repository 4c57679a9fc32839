"""The directories of the support for servers: images that stay, and machines of a session."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.server import control_groups

# The lock for tests that change or compare the kernel's setting for links, which all servers share.
KERNEL_LINKS: Final = "kernel-links"
_SYSTEM_CACHE = Path("/var/cache")


def cache() -> Path:
    """Return the directory for images. Only root may read it, since the host's settings may hold passwords."""
    chosen = os.environ.get("HOOKD_TEST_CACHE")
    above = os.environ.get("XDG_CACHE_HOME")
    path = Path(chosen) if chosen else Path(above or _SYSTEM_CACHE) / "hookd-tests"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.resolve()


@contextmanager
def locked(name: str, directory: Path | None = None) -> Iterator[None]:
    """Hold a lock for one process at a time during the block."""
    with ((directory or cache()) / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace(name: str = "") -> Iterator[Path]:
    """Provide a directory for machines to all processes that give the same name. The last one deletes it.

    After a kill the next call deletes it.
    """
    above = cache() / "sessions"
    above.mkdir(exist_ok=True)
    with locked("sessions"):
        for left in above.glob("*/"):
            _delete_unused(left)
        path = above / (name or secrets.token_hex(4))  # Part of a machine's name.
        path.mkdir(exist_ok=bool(name))
        lock = _lock_of(path).open("w")
        fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        yield path
    finally:
        with locked("sessions"):
            lock.close()
            _delete_unused(path)


def _delete_unused(directory: Path) -> None:
    """Delete a directory unless a process holds its lock or is in one of its control groups."""
    try:
        with _lock_of(directory).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            control_groups.remove_left(f"hookd-{directory.name}")
            shutil.rmtree(directory)
            _lock_of(directory).unlink()
    except OSError:
        return


def _lock_of(directory: Path) -> Path:
    return directory.with_suffix(".lock")
