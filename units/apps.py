"""Brings an app to this host, changes it, and takes it away again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.contract.catalogue import App, Catalogue
from units import layout
from units.app_checks import check_new
from units.app_plan import Given, app_plan, app_toml, units_of
from units.git_access import as_worker
from units.host import Host
from units.install import Installer
from units.manifest import HOST, Manifest
from units.plan import Absent, Plan, Run
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


def edit(server: Server, app: App, toml: str, say: Say, *, dry_run: bool) -> None:
    """Bring an app to another description: units that it no longer has are stopped and removed first."""
    plan = plan_for(server, app, toml)
    old = server.catalogue.get(app.name)
    gone = [unit for unit in (units_of(old) if old else ()) if unit not in units_of(app)]
    stops = (Run(("systemctl", "disable", "--now", "--quiet", *gone), "no longer part of the app"),) if gone else ()
    _apply(server, app, (*stops, *plan), say, dry_run=dry_run)


def _apply(server: Server, app: App, plan: Plan, say: Say, *, dry_run: bool) -> None:
    own = Installer(server.manifest, layout.app_scope(app.name), say)
    for_all = Installer(server.manifest, HOST, say)
    absent = tuple(Absent(path) for path in own.left_over(plan))
    whole = host_plan(server.host, server.with_app(app))
    own.check(plan)
    if dry_run:
        for line in (*own.preview((*absent, *plan)), *for_all.preview(whole)):
            say(line)
        return
    own.apply((*absent, *plan))
    for_all.apply(whole)


def remove(server: Server, app: App, say: Say, *, dry_run: bool) -> list[Path]:
    """Stop an app and take away all that was brought for it; returns the directories that stay, with its data."""
    units = units_of(app)
    scope = layout.app_scope(app.name)
    stop = (
        (Run(("systemctl", "disable", "--now", "--quiet", *units), "stop the app, its sockets first"),) if units else ()
    )
    files = server.manifest.of(scope, "file", "link")
    plan: Plan = (*stop, *(Absent(Path(thing.name)) for thing in files), *_news())
    installer = Installer(server.manifest, scope, say)
    whole = host_plan(server.host, server.without_app(app.name))
    if dry_run:
        for line in installer.preview(plan):
            say(line)
        return []
    installer.apply(plan)
    Installer(server.manifest, HOST, say).apply(whole)
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
