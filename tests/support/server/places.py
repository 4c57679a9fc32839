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
def locked(name: str) -> Iterator[None]:
    """Hold a lock for one process at a time during the block."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace() -> Iterator[Path]:
    """Provide a directory for the machines of this session. The next session deletes it after a kill."""
    above = cache() / "sessions"
    above.mkdir(exist_ok=True)
    with locked("sessions"):
        _sweep(above)
        path = above / secrets.token_hex(4)  # Part of a machine's name.
        path.mkdir()
        lock = _lock_of(path).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        shutil.rmtree(path)
        with locked("sessions"):
            _lock_of(path).unlink()
            lock.close()


def _sweep(above: Path) -> None:
    for left in above.glob("*/"):
        try:
            with _lock_of(left).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                control_groups.remove_left(f"hookd-{left.name}")
                shutil.rmtree(left)
                _lock_of(left).unlink()
        except OSError:  # A process holds the lock, or is in a control group.
            continue


def _lock_of(directory: Path) -> Path:
    return directory.with_suffix(".lock")
