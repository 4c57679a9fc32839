"""Files of hookd and its apps: they are as they were made, and only the right users can read or change them."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hookd.config import Problem
from hookd.credentials import read_secrets
from hookd.files.ownership.policies import OwnershipError
from hookd.model.app import App
from units.apps import permissions
from units.apps.changes import InitialContents, app_changes
from units.apps.table.credentials import credential_conflicts
from units.changes.change import Change, Changes, File, Run
from units.changes.manifest import Manifest
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown, warning
from units.host.changes import ACCOUNTS, host_changes
from units.host.install_code import version_of
from units.render.app import app_files
from units.system import disk, facts, layout

_SETUP: Final = "sudo hookd setup"
_REINSTALL: Final = "sudo ./run install"
# A restored backup can change hundreds of files.
_MAX_SHOWN: Final = 8
_DAY: Final = 86_400


def check_setup(context: HostContext) -> Iterator[Finding]:
    """Compare the host with its setup: accounts as any user, the rest as root."""
    yield from compare(ACCOUNTS)
    context.require_root("compare files with the setup")
    if not context.is_complete:
        raise CannotCheck("the setup needs valid files of all apps", AS_ROOT)
    changes = host_changes(facts.read_host(context.config), context.config.catalogue)
    yield from compare(tuple(change for change in changes if change not in ACCOUNTS))


def check_app_files(context: HostContext, app: App) -> Iterator[Finding]:
    """Compare an app's files with the changes that install it. The app's own file decides them, and is not compared."""
    context.require_root("compare files with the app's setup")
    if not Manifest.load(layout.MANIFEST).of(layout.app_scope(app.name), "file"):
        yield ok(f"{app.name} was not installed by `hookd app`, its files were not compared")
        return
    files = app_files(app, facts.read_host(context.config))
    own = layout.app_file(app.name)
    changes = app_changes(app, "", InitialContents(""), files)
    yield from compare(tuple(change for change in changes if getattr(change, "path", None) != own))


def compare(changes: Changes) -> Iterator[Finding]:
    """Report the changes that are not present: other texts as a warning, the rest as an error."""
    missing = [change for change in changes if not isinstance(change, Run) and not change.is_present()]
    changed = [change.mismatch() for change in missing if _has_other_text(change)]
    wrong = [change.mismatch() for change in missing if not _has_other_text(change)]
    if wrong:
        yield error(_list_differences(wrong), _SETUP)
    if changed:
        yield warning(_list_differences(changed), _SETUP)


def _has_other_text(change: Change) -> bool:
    return isinstance(change, File) and change.existing == "correct" and disk.read(change.path) != change.text.encode()


def _list_differences(differences: list[str]) -> str:
    shown, more = "; ".join(differences[:_MAX_SHOWN]), len(differences) - _MAX_SHOWN
    number = f"{len(differences)} differences: " if len(differences) > 1 else ""
    return f"{number}{shown}" + (f"; and {more} more" if more > 0 else "")


def check_code(_context: HostContext) -> Iterator[Finding]:
    """Compare the installed code with the digest in its directory's name."""
    version = disk.read_link(layout.CURRENT)
    if version is None:
        yield error(f"{layout.CURRENT} is missing: no unit of hookd can start", _REINSTALL)
    elif version_of(version / "code") != version.name:
        yield warning(f"code or Python of {version} changed after the installation", _REINSTALL)
    else:
        yield ok(f"the code is unchanged since its installation: {version.name}")


def check_access(_context: HostContext) -> Iterator[Finding]:
    """Check hookd's own code and configuration."""
    if not layout.CURRENT.exists():
        raise CannotCheck(f"there is no code at {layout.CURRENT}", _REINSTALL)
    for root in (layout.CODE, layout.ETC, layout.COMMAND):
        yield from _check_root_tree(root)
    yield from check_secret_file(layout.WORKER_ENVIRONMENT)


def _check_root_tree(root: Path) -> Iterator[Finding]:
    """Report files that others can write below a directory that root runs programs from."""
    unreadable: list[str] = []
    if unsafe := find_unsafe_files(root, unreadable):
        path, reason = next(iter(unsafe.items()))
        more = f" and {len(unsafe) - 1} more" if len(unsafe) > 1 else ""
        repair = f"sudo chown -R --no-dereference root {root} && sudo chmod -R go-w {root}"
        yield error(f"{path} {reason}{more}, but root runs or reads it", repair)
    if unreadable:
        yield unknown(f"you may not read {len(unreadable)} directories below {root}", AS_ROOT)


def find_unsafe_files(root: Path, unreadable: list[str]) -> dict[Path, str]:
    """Find files that others than root can change, with the reason. Add closed directories to `unreadable`."""
    paths = [root] if os.path.lexists(root) else []
    if root.is_dir():
        for place, directories, files in os.walk(root, onerror=lambda error: unreadable.append(str(error.filename))):
            paths += [Path(place, name) for name in (*directories, *files)]
    reasons = ((path, _reason_unsafe(path.lstat())) for path in paths)
    return {path: reason for path, reason in reasons if reason}


def _reason_unsafe(found: os.stat_result) -> str | None:
    if found.st_uid != 0:
        return f"belongs to {_user_name(found.st_uid)}"
    is_writable = found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode)
    return f"is writable by others (mode {stat.S_IMODE(found.st_mode):04o})" if is_writable else None


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


def check_app_access(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's webhook secret and deploy key, and its file, which everybody reads."""
    yield from _check_webhook_secret(context, app)
    yield from _check_deploy_key(app)
    yield from (warning(found.cause, found.hint) for found in credential_conflicts(app))


def _check_webhook_secret(context: HostContext, app: App) -> Iterator[Finding]:
    path = context.settings.receiver.secrets / app.name
    found, rotate = disk.status(path), f"sudo hookd secret rotate {app.name}"
    if found is None:
        yield error(f"{app.name} has no webhook secret: every push is refused", rotate)
        return
    yield from check_secret_file(path)
    problems: list[Problem] = []
    secrets = read_secrets(path, problems)
    for problem in problems:
        if problem.denied:
            raise CannotCheck(f"you may not read {path}", AS_ROOT)
        yield error(f"{problem}: the receiver cannot start", rotate)
    if len(secrets) > 1 and context.now.timestamp() - found.st_mtime > _DAY:
        yield warning(f"the old secret of {app.name} is still valid after a day", f"{rotate} --finish")


def _check_deploy_key(app: App) -> Iterator[Finding]:
    if app.deploy_key is None:
        return
    if disk.status(app.deploy_key) is None:
        yield error(f"{app.name} has no deploy key ({app.deploy_key})", f"sudo hookd app show {app.name}")
    yield from check_secret_file(app.deploy_key, layout.WORKER)


def check_permissions(context: HostContext, app: App) -> Iterator[Finding]:
    """Count the files that violate the app's policy. `hookd permissions` lists them."""
    context.require_root(f"read all files of {app.name}")
    try:
        report = permissions.check_permissions(app, context.settings)
    except OwnershipError as failure:
        yield error(failure.cause, failure.hint or f"sudo hookd permissions {app.name}")
        return
    if left := report.left:
        paths = "1 path violates" if len(left) == 1 else f"{len(left)} paths violate"
        hint = report.repair or f"sudo hookd permissions {app.name}"
        yield warning(f"{paths} the policy {report.policy}: {left[0]}", hint)
