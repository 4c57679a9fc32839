"""The lock of an app's deployments, for root's commands. Deployments hold it by worker/process/lock.py."""

import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.settings import Settings
from units.system import disk, layout
from units.system.errors import HostError

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def app_lock(app: App, settings: Settings, holder: str) -> Iterator[None]:
    """Hold the lock of an app's deployments, which wait meanwhile. `holder` names the command in the file.

    The file is made if it is missing, because the first deployment may start at any time. Raises HostError while a
    deployment runs.
    """
    path = settings.lock_path(app.name)
    descriptor = _open(path)
    try:
        _give_to_worker(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(f"a deployment of {app.name} runs", hint=f"hookd logs {app.name} --follow") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holder} (process {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open the lock, and make it if it is missing. Raises HostError for a link."""
    worker = pwd.getpwnam(layout.WORKER)
    disk.make_directory(path.parent, disk.Owner(worker.pw_uid, worker.pw_gid, 0o700))
    with disk.open_parent(path.parent) as parent:
        try:
            return os.open(path.name, _FLAGS, 0o640, dir_fd=parent)
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}", hint=disk.inspect_command(path)) from None


def _give_to_worker(path: Path, descriptor: int) -> None:
    """Make the worker the owner of its lock. Raises HostError for a file of somebody else."""
    found, worker = os.fstat(descriptor), pwd.getpwnam(layout.WORKER)
    is_new = found.st_uid == 0 and found.st_size == 0
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or not (is_new or found.st_uid == worker.pw_uid):
        raise HostError(f"{path} is no lock of hookd's", hint=disk.inspect_command(path))
    os.fchown(descriptor, worker.pw_uid, worker.pw_gid)
