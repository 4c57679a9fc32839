"""Removes hookd's resources from this host: apps, units, files, users. Names everything that stays."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.ids import is_app
from units.adopt import state
from units.apps.accounts.users import release_accounts
from units.apps.changes import BUILD_VARIABLES, VARIABLES
from units.apps.manage import Server
from units.apps.running.services import stop_commands
from units.changes.accounts import remove_accounts
from units.changes.apply import Echo, Installer
from units.changes.change import DAEMON_RELOAD, Absent, Change, Run, nginx_reload_commands
from units.changes.manifest import HOST, Manifest, Resource
from units.host.changes import fail2ban_commands
from units.system import disk, layout
from units.system.run import run, succeeds

# These go last and at once, because the command needs them.
_LAST: Final = (layout.COMMAND, layout.CODE)
_LEFTOVERS: Final = (
    layout.SETUP_STATE,
    layout.SOCKETS,
    layout.RECEIVER_SOCKET.parent,
    layout.PHASE_PIPES,
    layout.BUILD_CACHE,
    layout.APP_HOMES,
)


def uninstall(server: Server, apps: Iterable[App], variables: tuple[Path, ...], echo: Echo, *, dry_run: bool) -> None:
    """Stop `apps` and remove everything but `variables`. Raises CommandFailed, and can be repeated."""
    manifest = server.manifest
    changes = _changes(server, apps, variables)
    scopes = tuple(dict.fromkeys(entry.scope for entry in reversed(manifest.resources)))
    Installer(manifest, HOST, echo, dry_run=dry_run).apply(changes)
    if not dry_run:
        restrict_to_root(variables)
    removed = [change.path for change in changes if isinstance(change, Absent)]
    own = sorted(layout.OWN_SITES.glob("*"))
    stays = [*variables, *own]
    for scope in scopes:
        if scope != HOST:
            release_accounts(manifest, scope, (), echo, dry_run=dry_run)
        installer = Installer(manifest, scope, echo, dry_run=dry_run)
        stays += installer.remove_directories(removed, but=(*_LAST, *variables, *own))
    remove_accounts(manifest, manifest.of(HOST, "member", "user", "group"), echo, dry_run=dry_run)
    _remove_last(manifest, echo, dry_run=dry_run)
    for path in stays:
        echo(f"  stays: {path}")


def _changes(server: Server, apps: Iterable[App], variables: tuple[Path, ...]) -> tuple[Change, ...]:
    manifest = server.manifest
    entries = (entry for entry in reversed(manifest.resources) if entry.kind in ("file", "link"))
    files = [path for path in (Path(entry.name) for entry in entries if not _is_last(entry)) if path not in variables]
    own_units = [unit for unit in (*layout.UNITS, layout.RECONCILE) if succeeds(("systemctl", "cat", "--", unit))]
    changes: list[Change] = [*stop_commands(apps, manifest)]
    if own_units:
        changes.append(Run(("systemctl", "disable", "--now", "--quiet", *own_units), "hookd itself stops"))
    changes += [
        Run(("apparmor_parser", "--remove", str(profiles)), "AppArmor forgets the profiles")
        for profiles in (layout.APPARMOR, layout.APPARMOR_APPS)
        if server.host.loads_apparmor and profiles in files
    ]
    changes += map(Absent, files)
    changes.append(Run(DAEMON_RELOAD, "systemd forgets the units"))
    changes.append(Run(("systemctl", "reset-failed"), "systemd forgets failed units"))
    if any(path.is_relative_to(layout.NGINX) for path in files):
        changes += nginx_reload_commands()
    return (*changes, *fail2ban_commands(server.host))


def _is_last(resource: Resource) -> bool:
    return any(Path(resource.name).is_relative_to(path) for path in _LAST)


def _remove_last(manifest: Manifest, echo: Echo, *, dry_run: bool) -> None:
    own = (entry.name for entry in manifest.of(HOST, "file", "link", "directory") if _is_last(entry))
    paths = (*own, *map(str, _LEFTOVERS))
    for path in filter(os.path.lexists, paths):
        echo(f"- remove     {path}")
    if dry_run:
        return
    for directory in (layout.ENVIRONMENTS, layout.ETC):  # An earlier uninstallation may have left them for variables.
        disk.remove_empty(directory)
    run(("rm", "-rf", "--one-file-system", "--", *paths))
    echo("hookd is gone from this host")


def user_variables(app: str) -> tuple[Path, ...]:
    """Return the app's variables files that a person changed after hookd made them."""
    adopted = state.load(app)
    made = {
        "",
        *(text.format(name=app).strip() for text in (VARIABLES, BUILD_VARIABLES)),
        adopted.environment.strip() if adopted else "",
    }
    files = (layout.app_environment(app), layout.build_environment(app))
    return tuple(path for path in files if _text(path) not in made)


def all_user_variables() -> tuple[Path, ...]:
    """Return the changed variables files of all apps and of the worker."""
    worker = (layout.WORKER_ENVIRONMENT,) if _text(layout.WORKER_ENVIRONMENT) else ()
    files = sorted(layout.ENVIRONMENTS.iterdir()) if layout.ENVIRONMENTS.is_dir() else []
    return (*(path for file in files if is_app(file.name) for path in user_variables(file.name)), *worker)


def restrict_to_root(files: tuple[Path, ...]) -> None:
    """Make root the only owner, because another group may get the number of the removed one."""
    for path in files:
        disk.write(path, disk.read(path) or b"", disk.SECRET)


def _text(path: Path) -> str:
    return (disk.read(path) or b"").decode("utf-8", "replace").strip()
