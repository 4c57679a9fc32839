"""Access to files: root's code and configuration, secrets, keys, and the policy of each app."""

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.files.policies import OwnershipError
from hookd.model.app import App
from units.apps import permissions
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import Finding, error, unknown, warning
from units.system import disk, layout

_MAX_SHOWN: Final = 5
_MIN_SECRET_BYTES: Final = 16
_DAY: Final = 86_400


@dataclass(frozen=True)
class UnsafeFile:
    """A file that others than root can change, with the reason."""

    path: Path
    reason: str


def check(_context: HostContext) -> Iterator[Finding]:
    """Check hookd's own code and configuration."""
    for root in (layout.CODE, layout.ETC, layout.COMMAND):
        yield from _check_root_tree(root)
    yield from check_secret_file(layout.WORKER_ENVIRONMENT)


def _check_root_tree(root: Path) -> Iterator[Finding]:
    """Report files that others can write below a directory that root runs programs from."""
    unreadable: list[str] = []
    found = list(find_unsafe_files(root, unreadable))
    for one in found[:_MAX_SHOWN]:
        repair = f"sudo chown --no-dereference root:root {one.path} && sudo chmod go-w {one.path}"
        yield error(f"{one.path} {one.reason}, but root runs or reads it", repair)
    if len(found) > _MAX_SHOWN:
        repair = f"sudo chown -R --no-dereference root:root {root} && sudo chmod -R go-w {root}"
        yield error(f"{len(found) - _MAX_SHOWN} more files below {root} can be changed by others", repair)
    if unreadable:
        yield unknown(f"you may not read {len(unreadable)} directories below {root}", AS_ROOT)


def find_unsafe_files(root: Path, unreadable: list[str]) -> Iterator[UnsafeFile]:
    """Find files that others than root can change, following no link. Add closed directories to `unreadable`."""
    try:
        yield from _check_root_file(root, root.lstat())
    except FileNotFoundError:
        return
    if not root.is_dir():
        return
    for place, directories, files in os.walk(root, onerror=lambda error: unreadable.append(str(error.filename))):
        for name in (*directories, *files):
            path = Path(place, name)
            yield from _check_root_file(path, path.lstat())


def _check_root_file(path: Path, found: os.stat_result) -> Iterator[UnsafeFile]:
    if found.st_uid != 0:
        yield UnsafeFile(path, f"belongs to {_user_name(found.st_uid)}")
    elif found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode):
        yield UnsafeFile(path, f"is writable by others (mode {stat.S_IMODE(found.st_mode):04o})")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def check_secret_file(path: Path, owner: str = "root") -> Iterator[Finding]:
    """Check that a secret, if present, is a regular file that only its owner can read."""
    found = disk.status(path)
    if found is None:
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        yield error(f"the secret {path} is not a regular file", f"sudo rm {path} && sudo hookd setup")
    elif mode & 0o077:
        yield error(f"the secret {path} is open to others (mode {mode:04o})", f"sudo chmod 0600 {path}")
    elif _user_name(found.st_uid) != owner:
        yield error(f"{path} belongs to {_user_name(found.st_uid)}, not to {owner}", f"sudo chown {owner}: {path}")


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's webhook secret, deploy key and variables."""
    yield from _check_webhook_secret(context, app)
    yield from _check_deploy_key(app)
    for path in {app.build.environment_file, app.service.environment_file} - {None}:
        if path is not None and disk.status(path) is None:
            yield error(f"the variables of {app.name} are missing: {path}", f"sudoedit {path}")


def _check_webhook_secret(context: HostContext, app: App) -> Iterator[Finding]:
    path = context.settings.receiver.secrets / app.name
    found, rotate = disk.status(path), f"sudo hookd secret rotate {app.name}"
    if found is None:
        yield error(f"{app.name} has no webhook secret: every push is refused", rotate)
        return
    yield from check_secret_file(path)
    lines = [line.strip() for line in (disk.read(path) or b"").splitlines() if line.strip()]
    if not lines or any(len(line) < _MIN_SECRET_BYTES for line in lines):
        yield error(f"{path} has no secret of {_MIN_SECRET_BYTES} bytes: the receiver cannot start", rotate)
    if len(lines) == 2 and context.now.timestamp() - found.st_mtime > _DAY:
        yield warning(f"the old secret of {app.name} is still valid after a day", f"{rotate} --finish")
    if len(lines) > 2:
        yield error(f"{path} has {len(lines)} secrets, at most 2 are allowed", f"sudoedit {path}")


def _check_deploy_key(app: App) -> Iterator[Finding]:
    if app.deploy_key is None:
        return
    if disk.status(app.deploy_key) is None:
        show = f"sudo hookd app show {app.name} (makes a new key for the git host)"
        yield error(f"{app.name} has no deploy key ({app.deploy_key})", show)
    yield from check_secret_file(app.deploy_key, layout.WORKER)


def check_permissions(context: HostContext, app: App) -> Iterator[Finding]:
    """Count the files that violate the app's policy. `hookd permissions` lists them."""
    context.require_root(f"read all files of {app.name}")
    try:
        report = permissions.check_permissions(app, context.settings, most=1)
    except OwnershipError as failure:
        yield error(failure.cause, failure.hint or f"sudo hookd permissions {app.name}")
        return
    if report.left:
        paths = "1 path violates" if report.left == 1 else f"{report.left} paths violate"
        message = f"{paths} the policy {report.policy}: {report.places[0].findings[0]}"
        yield warning(message, f"sudo hookd permissions {app.name} --fix")
