"""The user and the group of an app: the choice for a new one, the changes that make them, and their removal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hookd.cli.common import sudo_command
from hookd.files.ownership.attributes import user_name
from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.ids import is_app
from hookd.model.tables.files import Ownership
from hookd.model.units.phases import build_user
from units.apps.accounts.rules import ownership_conflicts
from units.changes.accounts import GROUPS, Group, User, remove_accounts
from units.changes.apply import Echo, Installer
from units.changes.change import Change, Directory, Run
from units.changes.manifest import Manifest, Resource
from units.system import disk, layout
from units.system.accounts import find_group, find_user
from units.system.errors import Refused

_NO_HOME: Final = Path("/nonexistent")
# Debian's numbers for users of packages and of `useradd --system`.
_SYSTEM_UIDS: Final = range(100, 1000)


def default_user(name: str, catalogue: Catalogue, manifest: Manifest) -> str:
    """Return the user of an app that names none: www-data for the first one of a host, else one of its own.

    Raises Refused if the host has such a user or group already, or may not get one.
    """
    if known := catalogue.get(name):
        return known.ownership.user
    if not catalogue.apps:
        return layout.WEB
    if is_app(name) and (problems := list(ownership_conflicts(Ownership(user=name)))):
        raise Refused(problems, hint=_other_user(name))
    is_foreign_user = find_user(name) is not None and not manifest.has("user", name)
    is_foreign_group = find_group(name) is not None and not manifest.has("group", name)
    if is_foreign_user or is_foreign_group:
        kind = "user" if is_foreign_user else "group"
        raise Refused([f"the {kind} {name} exists, and hookd did not make it"], hint=_other_user(name))
    return name


def _other_user(name: str) -> str:
    return f"{sudo_command()} --user {name[:28]}-app"


def account_changes(app: App) -> tuple[Change, ...]:
    """Build the users of the app and of its builds, its group, and the worker's place in it to hand over files.

    A worker gets its new group when it starts again, after a running deployment.
    """
    user, group = app.ownership.user, app.ownership.group
    builder = build_user(app)
    builders = (User(builder, layout.BUILDERS, _NO_HOME),) if builder else ()
    own_user = () if user == layout.WEB else (User(user, group, _NO_HOME, uid=_former_uid(app)),)
    if group == layout.WEB:
        return (*builders, *own_user)
    return (
        *builders,
        Group(group),
        *own_user,
        User(layout.WORKER, layout.WORKER, _NO_HOME, (group,)),
        Run(("systemctl", "restart", "--no-block", *layout.WORKERS), "workers get the group", after=(GROUPS,)),
    )


def _former_uid(app: App) -> int | None:
    """Return the number of a removed user that still owns the app's data, so that a new user can use it."""
    for name in app.shared.directories:
        found = disk.status(app.data_root / name)
        if found and found.st_uid in _SYSTEM_UIDS and user_name(found.st_uid) == str(found.st_uid):
            return found.st_uid
    return None


def release_accounts(manifest: Manifest, scope: str, others: Sequence[App], echo: Echo, *, dry_run: bool) -> None:
    """Remove the accounts that an app's commands made, but those that `others` use become theirs.

    The directories of a removed app are closed, because other users will get the numbers.
    """
    unused = []
    for account in manifest.of(scope, "member", "user", "group"):
        heir = next((app for app in others if _uses(app, account)), None)
        if heir is None:
            unused.append(account)
        elif not dry_run:
            manifest.move(account, layout.app_scope(heir.name))
    is_gone = all(layout.app_scope(app.name) != scope for app in others)
    if is_gone and any(account.kind == "user" and not account.name.startswith(layout.BUILDERS) for account in unused):
        Installer(manifest, scope, echo, dry_run=dry_run).apply(_closed_directories(manifest, scope))
    remove_accounts(manifest, unused, echo, dry_run=dry_run)


def _uses(app: App, account: Resource) -> bool:
    user, group = app.ownership.user, app.ownership.group
    own = {"user": (user, build_user(app)), "group": (group,), "member": (f"{layout.WORKER} {group}",)}
    return account.name in own[account.kind]


def _closed_directories(manifest: Manifest, scope: str) -> tuple[Directory, ...]:
    """Return the app's uppermost directories for root alone. The owners below are kept for a return of the app."""
    kept = [Path(resource.name) for resource in manifest.of(scope, "kept directory")]
    own = [path for path in kept if path.parent != layout.SYSTEMD and disk.status(path)]
    top = (path for path in own if not any(path != other and path.is_relative_to(other) for other in own))
    return tuple(Directory(path, "root", "root", 0o700, "keep") for path in top)
