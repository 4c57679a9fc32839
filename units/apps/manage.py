"""Brings an app to this host, changes it, and takes it away again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.model.app import App, Catalogue
from units.apps.conflicts import add_conflicts, edit_conflicts
from units.apps.git_access import as_worker
from units.apps.plan import InitialContents, app_plan, app_toml
from units.apps.secrets import new_secret
from units.apps.services import stop_steps
from units.apps.table import parse_table
from units.host.plan import host_plan
from units.plan.apply import Echo, Installer, conflicts
from units.plan.manifest import HOST, Manifest
from units.plan.steps import DAEMON_RELOAD, RESTART_RECEIVER, Absent, Plan, Run, Step
from units.render.app import app_files
from units.system import disk, layout
from units.system.errors import Refused
from units.system.facts import Host
from units.system.run import run

# What hookd itself keeps of an app below its state; the journal goes with the rest, as the releases are no longer its.
_STATE: Final = (
    *("mirrors/{}.git", "journals/{}.jsonl", "locks/{}.lock", "locks/{}.crashes", "cache/{}", "home/{}"),
    *("keys/{}", "keys/{}.pub"),
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


def plan_for(server: Server, app: App, toml: str, given: InitialContents | None = None) -> Plan:
    """The plan for a new app, or for an app that was edited."""
    files = app_files(app, server.host)
    return app_plan(app, toml, given or InitialContents(new_secret()), files)


def add(
    server: Server,
    name: str,
    table: Mapping[str, Any],
    given: InitialContents,
    echo: Echo,
    *,
    unread: Iterable[str] = (),
    dry_run: bool,
) -> App:
    """Bring a new app, or go on where an earlier run was cut off.

    Raises Refused before anything is changed, with all that stands in the way; `unread` is what the caller knows of.
    """
    reading = parse_table(name, table)
    reasons = [*unread, *add_conflicts(reading, server.catalogue, server.manifest, server.host.git_protocols)]
    plan = _checked_plan(server, reading.app, app_toml(name, table), given, reasons)
    _apply(server, reading.app, plan, echo, dry_run=dry_run)
    return reading.app


def edit(server: Server, old: App, table: Mapping[str, Any], toml: str, echo: Echo, *, dry_run: bool) -> bool:
    """Bring an app to another description, or go on where that was cut off; raises Refused before anything is changed.

    Tells whether it is to run in another way now: then a deployment must follow, which starts it so, and `finish_edit`.
    """
    reading = parse_table(old.name, table)
    reasons = edit_conflicts(old, reading, server.catalogue, server.host.git_protocols)
    app = reading.app
    plan = _checked_plan(server, app, toml, InitialContents(new_secret()), reasons)
    _apply(server, app, plan, echo, dry_run=dry_run)
    installer = Installer(server.manifest, layout.app_scope(app.name), echo)
    gone = installer.obsolete_files(plan)
    units = [path for path in gone if path.parent == layout.SYSTEMD]
    other_way = old.service.handover != app.service.handover or bool(units) or has_single_process(app)
    if gone and (dry_run or not other_way):
        installer.carry_out((*map(Absent, gone), *_reload_steps()), dry_run=dry_run)
    return other_way


def _checked_plan(server: Server, app: App, toml: str, given: InitialContents, reasons: Iterable[str]) -> Plan:
    """Plan it; raises Refused with the reasons that are known, and those that show when it is planned."""
    found = list(reasons)
    plan: Plan = ()
    try:
        plan = plan_for(server, app, toml, given)
        found += conflicts(plan, server.manifest)
    except Refused as refused:
        found += refused.reasons
    if found:
        raise Refused(found)
    return plan


def has_single_process(app: App) -> bool:
    """Tell whether an app of two colours still has a process in its one unit: an edit was cut off before its end."""
    if app.service.units != "hookd" or app.service.handover == "restart":
        return False
    return run(("systemctl", "show", "--property=MainPID", "--value", f"{app.service_name}.service")).strip() != "0"


def reapply(server: Server, echo: Echo, *, dry_run: bool) -> None:
    """Bring every app's files to what this hookd writes: after an update; one that it did not bring is left alone."""
    for app in server.catalogue.apps:
        scope = layout.app_scope(app.name)
        if not server.manifest.of(scope, "file"):
            continue
        plan = plan_for(server, app, layout.app_file(app.name).read_text(encoding="utf-8"))
        installer = Installer(server.manifest, scope, echo)
        installer.check(plan)
        installer.carry_out(plan, dry_run=dry_run)


def finish_edit(server: Server, app: App, echo: Echo) -> None:
    """Stop and remove the units that the app no longer has, when it runs in its new way."""
    installer = Installer(server.manifest, layout.app_scope(app.name), echo)
    gone = installer.obsolete_files(plan_for(server, app, ""))
    # One whose file is gone was stopped by an earlier run that was cut off.
    stop = tuple(path.name for path in gone if path.parent == layout.SYSTEMD and disk.status(path))
    umbrella = () if app.service.handover == "restart" else (f"{app.service_name}.service",)
    steps: list[Step] = [
        *((Run(("systemctl", "stop", *stop), "no longer part of the app"),) if stop else ()),
        *(Absent(path) for path in gone),
        *_reload_steps(),
        *(Run(("systemctl", "restart", unit), "it starts the colour that serves") for unit in umbrella),
    ]
    installer.apply(tuple(steps))


def _apply(server: Server, app: App, plan: Plan, echo: Echo, *, dry_run: bool) -> None:
    own = Installer(server.manifest, layout.app_scope(app.name), echo)
    for_all = Installer(server.manifest, HOST, echo)
    own.carry_out(plan, dry_run=dry_run)
    for_all.carry_out(host_plan(server.host, server.with_app(app)), dry_run=dry_run, whole=False)


def remove(server: Server, app: App, variables: tuple[Path, ...], echo: Echo, *, dry_run: bool) -> list[Path]:
    """Stop an app and take away all that was brought for it; returns what stays: its data, and its `variables`."""
    installer = Installer(server.manifest, layout.app_scope(app.name), echo)
    files = _removable_files(server, app.name, variables)
    # As long as these are there, the same command can be typed again.
    last = [path for path in (layout.app_file(app.name), layout.app_secret(app.name)) if path in files]
    first = (Absent(path) for path in files if path not in last)
    installer.carry_out((*stop_steps([app], server.manifest), *first, *_reload_steps()), dry_run=dry_run, whole=False)
    without = host_plan(server.host, server.without_app(app.name))
    Installer(server.manifest, HOST, echo).carry_out(without, dry_run=dry_run, whole=False)
    if not dry_run:
        state = (str(layout.STATE / one.format(app.name)) for one in _STATE)
        run(as_worker("rm", "-rf", "--one-file-system", "--", *state))
    stays = _remove_directories(installer, files, echo, dry_run=dry_run)
    installer.carry_out(_final_steps(app.name, last), dry_run=dry_run, whole=False)
    if not dry_run:
        installer.leave(variables)
    return [*stays, *variables]


def _removable_files(server: Server, name: str, variables: tuple[Path, ...]) -> list[Path]:
    """What was brought for an app, but for what a person has written."""
    brought = server.manifest.of(layout.app_scope(name), "file", "link")
    return [path for path in (Path(thing.name) for thing in brought) if path not in variables]


def _remove_directories(installer: Installer, files: list[Path], echo: Echo, *, dry_run: bool) -> list[Path]:
    """Remove an app's directories, or say which would go with its files; returns those that stay."""
    if not dry_run:
        return installer.remove_directories()
    for directory in installer.removable_directories(files):
        echo(f"+ remove     {directory}")
    return installer.kept_directories(files)


def is_partly_installed(server: Server, name: str) -> bool:
    """Tell whether something was brought for an app that the catalogue does not know: it came, or went, half-way."""
    return server.catalogue.get(name) is None and bool(server.manifest.of(layout.app_scope(name), "file", "link"))


def remove_leftovers(
    server: Server, name: str, variables: tuple[Path, ...], echo: Echo, *, dry_run: bool
) -> list[Path]:
    """Take away what is left of such an app; returns what stays."""
    installer = Installer(server.manifest, layout.app_scope(name), echo)
    files = _removable_files(server, name, variables)
    stays = _remove_directories(installer, files, echo, dry_run=dry_run)
    installer.carry_out(_final_steps(name, files), dry_run=dry_run, whole=False)
    if not dry_run:
        installer.leave(variables)
    return [*stays, *variables]


def _final_steps(name: str, files: Iterable[Path]) -> Plan:
    """What comes last: until the secret is gone, after all who must know have been told, the same command goes on."""
    steps = [Absent(path) for path in (*files, layout.FROZEN / name)]
    secret = [step for step in steps if step.path == layout.app_secret(name)]
    return (*(step for step in steps if step not in secret), *_reload_steps(), *secret)


def _reload_steps() -> Plan:
    return (
        Run(DAEMON_RELOAD, "systemd forgets the units", after=(layout.SYSTEMD,)),
        Run(("systemctl", "reload-or-restart", "nginx.service"), "nginx forgets the site", after=(layout.NGINX,)),
        Run(RESTART_RECEIVER, "the receiver forgets the app", after=(layout.APPS,)),
    )
