"""Where the support for servers keeps what it makes: images that stay, and machines that go."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.server import control_groups

# The lock for tests that change or compare the kernel's rule on links, which is one for all servers.
KERNEL_LINKS: Final = "kernel-links"
_SYSTEM_CACHE = Path("/var/cache")


def cache() -> Path:
    """The directory for images; only root may look into it, since settings of the host may hold passwords."""
    chosen = os.environ.get("HOOKD_TEST_CACHE")
    above = os.environ.get("XDG_CACHE_HOME")
    path = Path(chosen) if chosen else Path(above or _SYSTEM_CACHE) / "hookd-tests"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time into the block."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for the machines of this session: deleted with it, or by the next one when this one is killed."""
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
        except OSError:  # Somebody holds the lock, or is in a control group.
            continue


def _lock_of(directory: Path) -> Path:
    return directory.with_suffix(".lock")
