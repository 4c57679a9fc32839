"""Brings an app to this host, changes it, and takes it away again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.contract.catalogue import App, Catalogue
from units import disk, layout
from units.app_checks import check_edit, check_new
from units.app_plan import Given, app_plan, app_toml, units_of
from units.git_access import as_worker
from units.host import Host
from units.install import Installer
from units.manifest import HOST, Manifest
from units.plan import Absent, Plan, Run, Step
from units.render import app_files
from units.run import run
from units.secrets import new_secret
from units.setup import host_plan

Say = Callable[[str], None]
# What hookd itself keeps of an app below its state; the journal goes with the rest, as the releases are no longer its.
_STATE: Final = (
    "mirrors/{}.git", "journals/{}.jsonl", "locks/{}.lock", "cache/{}", "home/{}", "keys/{}", "keys/{}.pub"
)  # fmt: skip


@dataclass(frozen=True)
class Server:
    """This host as the commands find it: what it is, what hookd brought to it, and its apps."""

    host: Host
    manifest: Manifest
    catalogue: Catalogue

    def with_app(self, app: App) -> Catalogue:
        """The catalogue as it is to be."""
        return Catalogue(apps=(*(one for one in self.catalogue.apps if one.name != app.name), app))

    def without_app(self, name: str) -> Catalogue:
        """The catalogue when an app is gone."""
        return Catalogue(apps=tuple(one for one in self.catalogue.apps if one.name != name))


def plan_for(server: Server, app: App, toml: str, given: Given | None = None) -> Plan:
    """The plan for a new app, or for an app that was edited."""
    files = app_files(app, server.host)
    return app_plan(app, toml, given or Given(new_secret()), files)


def add(server: Server, app: App, table: Mapping[str, Any], given: Given, say: Say, *, dry_run: bool) -> None:
    """Bring a new app, or go on where an earlier run was cut off; raises Refused before anything is changed."""
    check_new(app, server.catalogue, server.manifest)
    _apply(server, app, plan_for(server, app, app_toml(app.name, table), given), say, dry_run=dry_run)


def edit(server: Server, old: App, app: App, toml: str, say: Say, *, dry_run: bool) -> bool:
    """Bring an app to another description, or go on where that was cut off; raises Refused before anything is changed.

    Tells whether it is to run in another way now: then a deployment must follow, which starts it so, and `finish_edit`.
    """
    check_edit(old, app, server.catalogue)
    plan = plan_for(server, app, toml)
    _apply(server, app, plan, say, dry_run=dry_run)
    gone = Installer(server.manifest, layout.app_scope(app.name), say).left_over(plan)
    units = [path for path in gone if path.parent == layout.SYSTEMD]
    if old.service.handover != app.service.handover or units or runs_as_one(app):
        return True
    if gone and not dry_run:
        Installer(server.manifest, layout.app_scope(app.name), say).apply((*map(Absent, gone), *_news()))
    return False


def runs_as_one(app: App) -> bool:
    """Tell whether an app of two colours still has a process in its one unit: an edit was cut off before its end."""
    if app.service.units != "hookd" or app.service.handover == "restart":
        return False
    return run(("systemctl", "show", "--property=MainPID", "--value", f"{app.service_name}.service")).strip() != "0"


def bring_again(server: Server, say: Say, *, dry_run: bool) -> None:
    """Bring every app's files to what this hookd writes: after an update; one that it did not bring is left alone."""
    for app in server.catalogue.apps:
        scope = layout.app_scope(app.name)
        if not server.manifest.of(scope, "file"):
            continue
        plan = plan_for(server, app, layout.app_file(app.name).read_text(encoding="utf-8"))
        installer = Installer(server.manifest, scope, say)
        installer.check(plan)
        if not dry_run:
            installer.apply(plan)
            continue
        for line in installer.preview(plan):
            say(line)


def finish_edit(server: Server, app: App, say: Say) -> None:
    """Stop and remove the units that the app no longer has, when it runs in its new way."""
    installer = Installer(server.manifest, layout.app_scope(app.name), say)
    gone = installer.left_over(plan_for(server, app, ""))
    # One whose file is gone was stopped by an earlier run that was cut off.
    stop = tuple(path.name for path in gone if path.parent == layout.SYSTEMD and disk.status(path))
    umbrella = () if app.service.handover == "restart" else (f"{app.service_name}.service",)
    steps: list[Step] = [
        *((Run(("systemctl", "stop", *stop), "no longer part of the app"),) if stop else ()),
        *(Absent(path) for path in gone),
        *_news(),
        *(Run(("systemctl", "restart", unit), "it starts the colour that serves") for unit in umbrella),
    ]
    installer.apply(tuple(steps))


def _apply(server: Server, app: App, plan: Plan, say: Say, *, dry_run: bool) -> None:
    own = Installer(server.manifest, layout.app_scope(app.name), say)
    for_all = Installer(server.manifest, HOST, say)
    whole = host_plan(server.host, server.with_app(app))
    own.check(plan)
    if dry_run:
        for line in (*own.preview(plan), *for_all.preview(whole)):
            say(line)
        return
    own.apply(plan)
    for_all.apply(whole)


def remove(server: Server, app: App, say: Say, *, dry_run: bool) -> list[Path]:
    """Stop an app and take away all that was brought for it; returns the directories that stay, with its data."""
    scope = layout.app_scope(app.name)
    files = [Path(thing.name) for thing in server.manifest.of(scope, "file", "link")]
    there = {path.name for path in files if path.parent == layout.SYSTEMD and disk.status(path)}
    units = tuple(unit for unit in units_of(app) if unit in there)
    stop = (Run(("systemctl", "disable", "--now", "--quiet", *units), "stop the app, its sockets first"),)
    files.append(layout.FROZEN / app.name)
    plan: Plan = (*(stop if units else ()), *(Absent(path) for path in files), *_news())
    installer = Installer(server.manifest, scope, say)
    if dry_run:
        for line in installer.preview(plan):
            say(line)
        return []
    installer.apply(plan)
    Installer(server.manifest, HOST, say).apply(host_plan(server.host, server.without_app(app.name)))
    run(
        as_worker("rm", "-rf", "--one-file-system", "--", *(str(layout.STATE / one.format(app.name)) for one in _STATE))
    )
    return installer.remove_directories()


def _news() -> Plan:
    return (
        Run(("systemctl", "daemon-reload"), "systemd forgets the units", after=(layout.SYSTEMD,)),
        Run(("systemctl", "reload-or-restart", "nginx.service"), "nginx forgets the site", after=(layout.NGINX,)),
        Run(("systemctl", "restart", "hookd.service"), "the receiver forgets the app", after=(layout.APPS,)),
    )
