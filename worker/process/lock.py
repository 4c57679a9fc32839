"""The kernel lock of an app's deployments, and the locked file of each running one. They cannot go stale."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from hookd.config import config_or_none
from hookd.eventlog import event
from hookd.model.ids import app_of, is_deployment
from hookd.model.settings import Settings
from worker.errors import AppLocked

log: Final = logging.getLogger(__name__)

LIVENESS_SUFFIX: Final = ".run"
_PAUSE_SECONDS: Final = 0.1
_TAKE_SECONDS: Final = 1.0


@contextmanager
def app_lock(path: Path, holder: str, seconds: float) -> Iterator[None]:
    """Hold an app's lock, with `holder` written into it. Raises AppLocked after `seconds` of waiting."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        _acquire(descriptor, seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder} (process {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not try_lock(descriptor):
        if time.monotonic() >= end:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise AppLocked(f"another deployment of this app has been running for more than {seconds:g} s: {holder}")
        time.sleep(_PAUSE_SECONDS)


def try_lock(descriptor: int) -> bool:
    """Take a lock if it is free. Return True on success."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_holder(path: Path) -> str | None:
    """Return the id of the deployment that holds the lock, or None."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if try_lock(descriptor):
            return None
        return os.pread(descriptor, 200, 0).decode("utf-8", "replace").split(" ")[0]
    finally:
        os.close(descriptor)


@contextmanager
def hold_liveness_file(path: Path) -> Iterator[None]:
    """Hold a liveness file, unless another process of the deployment does. Raises OSError.

    It is held before the record says running until after the ending. The app's lock is taken later, after a wait.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _open_and_lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _open_and_lock(path: Path) -> int | None:
    """Open and lock a file that still has this name. Retry because `is_held` holds the lock for a moment."""
    end = time.monotonic() + _TAKE_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= end:
            return None
        time.sleep(_PAUSE_SECONDS)


def is_held(path: Path) -> bool:
    """Return True if another process holds the liveness file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor) and os.pread(descriptor, 20, 0) != str(os.getpid()).encode()
    finally:
        os.close(descriptor)


def is_running(deployment_id: str) -> bool:
    """Return True if another process of this host runs the deployment, or if the configuration cannot be read."""
    config = config_or_none()
    if config is None or is_held(liveness_path(config.settings, deployment_id)):
        return True
    return lock_holder(config.settings.lock_path(app_of(deployment_id))) == deployment_id


def liveness_path(settings: Settings, deployment_id: str) -> Path:
    """Return the path of a deployment's liveness file."""
    return settings.lock_path(app_of(deployment_id)).with_name(f"{deployment_id}{LIVENESS_SUFFIX}")


@contextmanager
def liveness_lock(deployment_id: str) -> Iterator[None]:
    """Hold a deployment's liveness file. Without it, the app's lock is the only sign of life."""
    config = config_or_none() if is_deployment(deployment_id) else None
    with ExitStack() as held:
        if config is not None:
            try:
                held.enter_context(hold_liveness_file(liveness_path(config.settings, deployment_id)))
            except OSError as error:
                event(log, "no liveness file", logging.WARNING, deployment=deployment_id, why=str(error))
        yield
