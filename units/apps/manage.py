"""Installs, changes and removes apps on this host."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.settings import Settings
from hookd.model.tables.processes import stop_seconds
from hookd.model.units.phases import possible_units_of_phases
from hookd.model.units.processes import units_beside
from units.apps.accounts.users import release_accounts
from units.apps.changes import InitialContents, app_changes, app_toml
from units.apps.conflicts import add_conflicts, earlier_variables, edit_conflicts
from units.apps.move import moving, must_move
from units.apps.repository.git_access import as_worker
from units.apps.running.services import end_commands, stop_commands
from units.apps.secrets import new_secret
from units.apps.table.options import parse_app
from units.apps.variables import variable_conflicts
from units.changes.apply import Echo, Installer, conflicts
from units.changes.change import DAEMON_RELOAD, RESTART_RECEIVER, RUN_SECONDS, Absent, Change, Changes, Run
from units.changes.manifest import HOST, Manifest
from units.host.changes import host_changes
from units.render.app import app_files
from units.system import disk, layout
from units.system.errors import Refused
from units.system.facts import Host
from units.system.run import run
from units.system.systemd import read_units

# hookd's own files of an app, in its state directory.
_STATE: Final = (
    *("mirrors/{}.git", "journals/{}.jsonl", "locks/{}.lock", "locks/{}.crashes", "cache/{}", "home/{}", "records/{}"),
    *("keys/{}", "keys/{}.pub"),
)  # fmt: skip


@dataclass(frozen=True)
class Server:
    """This host: its facts, hookd's resources on it, its apps and its settings."""

    host: Host
    manifest: Manifest
    catalogue: Catalogue
    settings: Settings = field(default_factory=Settings)

    def with_app(self, app: App) -> Catalogue:
        """Return the catalogue with a new or changed app."""
        return Catalogue(apps=(*self.without_app(app.name).apps, app))

    def without_app(self, name: str) -> Catalogue:
        """Return the catalogue without an app."""
        return Catalogue(apps=tuple(app for app in self.catalogue.apps if app.name != name))


def _changes_for(server: Server, app: App, toml: str, initial: InitialContents | None = None) -> Changes:
    """Build the changes for a new or edited app."""
    files = app_files(app, server.host)
    return app_changes(app, toml, initial or InitialContents(new_secret()), files)


def check_add(server: Server, name: str, table: Mapping[str, Any], initial: InitialContents) -> None:
    """Raise Refused with the problems of a new app."""
    _changes_of_new(server, parse_app(name, table), table, initial)


def add(
    server: Server,
    name: str,
    table: Mapping[str, Any],
    initial: InitialContents,
    echo: Echo,
    *,
    dry_run: bool,
) -> App:
    """Install a new app, or continue an interrupted installation. Raises Refused before any change."""
    app = parse_app(name, table)
    changes = _changes_of_new(server, app, table, initial)
    _apply(server, app, changes, echo, dry_run=dry_run)
    return app


def _changes_of_new(server: Server, app: App, table: Mapping[str, Any], initial: InitialContents) -> Changes:
    """Build the changes for a new app. Raises Refused."""
    found = [
        *add_conflicts(app, server.catalogue, server.manifest, server.host.git_protocols),
        *_unused_variables(app, initial),
        *earlier_variables(app.name, initial.environment),
        *variable_conflicts(app),
    ]
    return _checked_changes(server, app, app_toml(app.name, table), initial, found)


def _unused_variables(app: App, initial: InitialContents) -> Iterator[str]:
    path = layout.app_environment(app.name)
    if initial.environment is not None and path not in app.variable_files:
        yield f'--env-file: unused without service.environment_file = "{path}"'


def edit(server: Server, old: App, table: Mapping[str, Any], toml: str, echo: Echo, *, dry_run: bool) -> bool:
    """Apply a changed app file, or continue an interrupted change. Raises Refused before any change.

    Return True if other units run the app from now on. A deployment must start them, and `finish_edit` must follow.
    """
    app = parse_app(old.name, table)
    found = edit_conflicts(old, app, server.catalogue, server.manifest, server.host.git_protocols)
    changes = _checked_changes(server, app, toml, InitialContents(new_secret()), found)
    scope = layout.app_scope(app.name)
    installer = Installer(server.manifest, scope, echo, dry_run=dry_run)
    with _moved(server, old, app, installer):
        _apply(server, app, changes, echo, dry_run=dry_run)
    # Nobody starts them any more.
    installer.apply(tuple(end_commands(old, app)))
    release_accounts(server.manifest, scope, server.with_app(app).apps, echo, dry_run=dry_run)
    obsolete = installer.obsolete_files(changes)
    others = {*possible_units_of_phases(old), *units_beside(old)}
    serving = [path for path in obsolete if path.parent == layout.SYSTEMD and path.name not in others]
    other_units = old.service.handover != app.service.handover or bool(serving) or _has_single_process(app)
    if obsolete and (dry_run or not other_units):
        installer.apply((*map(Absent, obsolete), *_forget_commands()))
    return other_units


def _moved(server: Server, old: App, app: App, installer: Installer) -> AbstractContextManager[None]:
    """Give the app's files to its user and group before the block, if they belong to others."""
    if must_move(old, app, server.manifest):
        return moving(app, server.settings, server.manifest, installer)
    return nullcontext()


def _checked_changes(server: Server, app: App, toml: str, initial: InitialContents, problems: Iterable[str]) -> Changes:
    """Build the changes. Raises Refused with `problems` and with the conflicts of the changes."""
    found = list(problems)
    try:
        changes = _changes_for(server, app, toml, initial)
        found += conflicts(changes, server.manifest)
    except Refused as refused:
        found += refused.reasons
    if found:
        raise Refused(found)
    return changes


def _has_single_process(app: App) -> bool:
    """Return True if a blue-green app still runs in its parent unit, because an edit was interrupted."""
    if app.service.units != "hookd" or app.service.handover == "restart":
        return False
    name = f"{app.service_name}.service"
    return read_units([name])[name].process != 0


def reapply(server: Server, echo: Echo, *, dry_run: bool) -> None:
    """Bring the files of every app to this version of hookd. Apps without a file in the manifest are not hookd's."""
    for app in server.catalogue.apps:
        scope = layout.app_scope(app.name)
        if not server.manifest.of(scope, "file"):
            continue
        changes = _changes_for(server, app, layout.app_file(app.name).read_text(encoding="utf-8"))
        installer = Installer(server.manifest, scope, echo, dry_run=dry_run)
        installer.check(changes)
        with _moved(server, app, app, installer):
            installer.apply(changes)


def finish_edit(server: Server, app: App, echo: Echo) -> None:
    """Stop and remove obsolete units, after a deployment has started the new ones."""
    installer = Installer(server.manifest, layout.app_scope(app.name), echo)
    obsolete = installer.obsolete_files(_changes_for(server, app, ""))
    # A unit without its file was stopped by an interrupted run.
    gone = tuple(path.name for path in obsolete if path.parent == layout.SYSTEMD and disk.status(path))
    stop = tuple(unit.replace("@.", "@*.") for unit in gone)
    templates = tuple(unit for unit in gone if "@." in unit)
    parent = () if app.service.handover == "restart" else (f"{app.service_name}.service",)
    seconds = RUN_SECONDS + stop_seconds(app)
    changes: list[Change] = [
        *((Run(("systemctl", "stop", *stop), "no longer part of the app", seconds=seconds),) if stop else ()),
        *((Run(("systemctl", "disable", "--quiet", *templates), "no longer with the host"),) if templates else ()),
        *map(Absent, obsolete),
        *_forget_commands(),
        *(Run(("systemctl", "restart", unit), "it starts the colour that serves", seconds=seconds) for unit in parent),
    ]
    installer.apply(tuple(changes))


def _apply(server: Server, app: App, changes: Changes, echo: Echo, *, dry_run: bool) -> None:
    Installer(server.manifest, layout.app_scope(app.name), echo, dry_run=dry_run).apply(changes)
    Installer(server.manifest, HOST, echo, dry_run=dry_run).apply(host_changes(server.host, server.with_app(app)))


def is_partly_installed(server: Server, name: str) -> bool:
    """Return True if files of an app exist without the app, because its installation or removal was interrupted."""
    return server.catalogue.get(name) is None and bool(server.manifest.of(layout.app_scope(name), "file", "link"))


def remove(
    server: Server, name: str, app: App | None, variables: tuple[Path, ...], echo: Echo, *, dry_run: bool
) -> list[Path]:
    """Stop an app and remove its resources. Return what stays: its data, its `variables`, what a person made.

    Without an `app`, remove the rest of a partly installed one.
    """
    scope = layout.app_scope(name)
    installer = Installer(server.manifest, scope, echo, dry_run=dry_run)
    paths = [Path(resource.name) for resource in server.manifest.of(scope, "file", "link")]
    files = last = [path for path in paths if path not in variables]
    if app is not None:
        # The command can be repeated as long as these exist.
        last = [path for path in files if path in (layout.app_file(name), layout.app_secret(name))]
        first = (Absent(path) for path in files if path not in last)
        installer.apply((*stop_commands([app], server.manifest), *first, *_forget_commands()))
        without = host_changes(server.host, server.without_app(name))
        Installer(server.manifest, HOST, echo, dry_run=dry_run).apply(without)
        if not dry_run:
            state = (str(layout.STATE / path.format(name)) for path in _STATE)
            run(as_worker("rm", "-rf", "--one-file-system", "--", *state))
            run(("rm", "-rf", "--one-file-system", "--", *map(str, layout.phase_places(name))))
    release_accounts(server.manifest, scope, server.without_app(name).apps, echo, dry_run=dry_run)
    stays = installer.remove_directories(files)
    # The secret goes last, so that an interrupted removal can be repeated.
    secret = layout.app_secret(name)
    others = [path for path in (*last, layout.FROZEN / name) if path != secret]
    installer.apply((*map(Absent, others), *_forget_commands(), *(Absent(path) for path in last if path == secret)))
    installer.disown(variables)
    domain = app.site.domain if app else None
    own = (layout.own_site(name), *((layout.CERTIFICATES / domain,) if domain else ()))
    return [*stays, *variables, *filter(disk.status, own)]


def _forget_commands() -> Changes:
    """Build the commands that make systemd, nginx and the receiver forget what is removed."""
    return (
        Run(DAEMON_RELOAD, "systemd forgets the units", after=(layout.SYSTEMD,)),
        Run(("systemctl", "reload-or-restart", "nginx.service"), "nginx forgets the site", after=(layout.NGINX,)),
        Run(RESTART_RECEIVER, "the receiver forgets the app", after=(layout.APPS,)),
    )
