"""Conflicts of an app with this host and with other apps. All are found before any change."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.commands import edit_command
from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.tables.service import COLOURS
from hookd.model.units.phases import possible_units_of_phases, units_of_phases
from hookd.model.units.processes import units_beside
from units.apps.accounts.rules import ownership_conflicts
from units.apps.accounts.unit_users import existing_unit_problems
from units.apps.changes import VARIABLES, units_of
from units.apps.table.credentials import credential_conflicts
from units.changes.manifest import Manifest
from units.render.app import health_socket, listen_address
from units.system import disk, layout
from units.system.errors import Reason, Refused
from units.system.nginx_config import server_names
from units.system.run import CommandFailed, run, succeeds

# Units that exist during an adoption.
_TEMPORARY: Final = ("interim", "trial")
_OTHER_NAME: Final = "sudo hookd app add NAME --repo URL"
# No path of an app may lie in one of these or contain one. Root and the worker write, own and read an app's paths.
_SYSTEM_PATHS: Final = (
    *map(Path, "/bin /boot /dev /etc /lib /lib32 /lib64 /proc /root /run /sbin /sys /usr /var/lib/dpkg".split()),
    *(layout.CODE, layout.STATE, layout.LOGS, layout.REDIS_STATE, layout.SETUP_STATE, layout.BACKUPS),
)


def add_conflicts(app: App, catalogue: Catalogue, manifest: Manifest, protocols: tuple[str, ...]) -> Iterator[str]:
    """Return the problems of a new app. `protocols` are git's on this host."""
    known = catalogue.get(app.name)
    if known is not None and known != app:
        yield str(Reason(f"the app {app.name} exists", f"sudo hookd app edit {app.name}"))
        return
    yield from _catalogue_conflicts(app, catalogue, protocols)
    yield from _unit_conflicts(app, manifest)
    yield from _directory_conflicts(app, manifest)


def edit_conflicts(
    old: App, app: App, catalogue: Catalogue, manifest: Manifest, protocols: tuple[str, ...]
) -> Iterator[str]:
    """Return the problems of a changed app."""
    before, after = _immutable_values(old), _immutable_values(app)
    for key in before:
        if before[key] != after[key]:
            yield f"{key} cannot be changed: it is {before[key]}"
    if _account(old) != _account(app) and old.service.handover != app.service.handover:
        yield "ownership and service.handover change one after the other"
    yield from _catalogue_conflicts(app, catalogue, protocols)
    yield from _unit_conflicts(app, manifest)


def _catalogue_conflicts(app: App, catalogue: Catalogue, protocols: tuple[str, ...]) -> Iterator[str]:
    """Compare an app with the other apps, and with this host's rules."""
    others = [other for other in catalogue.apps if other.name != app.name]
    yield from map(str, Catalogue(apps=(*others, app)).conflicts())
    yield from app_conflicts(app, others, protocols)
    yield from domain_conflicts(app.site.domain, others, f"hookd-{app.name}")


def _immutable_values(app: App) -> dict[str, object]:
    """Return the values that name the app's files and units."""
    return {
        "root": app.root,
        "shared.data": app.data_root,
        "service.manager": app.service.manager,
        "service.units": app.service.units,
        "service.name": app.service_name,
    }


def _account(app: App) -> tuple[str, str]:
    return app.ownership.user, app.ownership.group


def _unit_conflicts(app: App, manifest: Manifest) -> Iterable[str]:
    foreign = {*app.service.restart_also, *(app.services if app.service.units == "existing" else ())}
    for name in sorted(foreign):
        if not succeeds(("systemctl", "cat", "--", f"{name}.service")):
            yield f"the unit {name}.service of the app's file does not exist"
    yield from map(str, existing_unit_problems(app))
    yield from _schedule_conflicts(app)
    made = units_of(app) if app.service.units == "hookd" else ()
    for unit in dict.fromkeys((*made, *units_of_phases(app), *units_beside(app))):
        if not manifest.has("file", str(layout.SYSTEMD / unit)) and succeeds(("systemctl", "cat", "--", unit)):
            yield str(Reason(f"the unit {unit} exists", "sudo hookd app adopt DIRECTORY"))


def _schedule_conflicts(app: App) -> Iterator[str]:
    for name, timer in app.timers.items():
        if not succeeds(("systemd-analyze", "calendar", "--", timer.schedule)):
            example = "such as *-*-* 03:15, hourly or Mon..Fri 08:00"
            yield f"timers.{name}.schedule: systemd cannot read {timer.schedule!r}, {example}"


def earlier_variables(name: str, variables: str | None) -> Iterator[str]:
    """Return the reason why new variables would be dropped: those of an earlier app of this name are kept."""
    path = layout.app_environment(name)
    found = (disk.read(path) or b"").decode(errors="replace").strip()
    if variables is not None and found not in ("", variables.strip(), VARIABLES.format(name=name).strip()):
        yield str(Reason(f"{path} holds other variables already", f"sudo mv {path} {path}.old"))


def domain_conflicts(domain: str | None, others: Iterable[App], own: str) -> Iterable[str]:
    """Return the reason why a domain is taken. The site `own` does not count."""
    if domain is None:
        return
    if any(other.site.domain == domain for other in others):
        yield f"{domain} is served already, by another app of hookd's"
        return
    try:
        printed = run(("nginx", "-T", "-q"))
    except CommandFailed as error:
        # An existing site was compared before, and may itself be the mistake.
        is_foreign = disk.status(layout.ENABLED_SITES / own) is None or f" {layout.OWN_SITES}/" in error.output
        if shutil.which("nginx") and is_foreign:
            yield str(Reason(f"nginx rejects its configuration: {error}", "sudo nginx -t"))
        return
    if domain in server_names(printed, without=own):
        yield f"{domain} is served already by a site below {layout.NGINX}"


def _directory_conflicts(app: App, manifest: Manifest) -> Iterable[str]:
    places = {app.root: "root"}
    if app.shared.directories and not app.data_root.is_relative_to(app.root):
        places[app.data_root] = "shared.data"
    for path, key in places.items():
        if manifest.has("kept directory", str(path)):
            continue
        found = disk.status(path)
        if found is not None and (not path.is_dir() or any(path.iterdir())):
            yield str(Reason(f"{path} ({key}) exists and is not empty", f"sudo mv {path} {path}.old"))


def app_conflicts(app: App, others: Iterable[App], protocols: tuple[str, ...]) -> Iterator[str]:
    """Return the reserved values of an app, and those that another app has."""
    if app.name == "hookd" or app.name.startswith("hookd-"):
        yield str(Reason(f"{app.name}: the name is reserved for hookd's own units", _OTHER_NAME))
    scheme, separator, _ = app.repository.partition("://")
    used = scheme if separator else "ssh"
    if used not in protocols:
        edit = f"sudoedit {layout.CONFIG}  # worker.git_protocols"
        yield str(Reason(f"repository: git may not use {used} here, only {', '.join(protocols)}", edit))
    yield from ownership_conflicts(app.ownership)
    yield from map(str, credential_conflicts(app))
    for name in sorted(app.services & frozenset(app.service.restart_also)):
        yield f"service.restart_also: {name} is the app's own service, which restarts in any case"
    yield from _path_conflicts(app)
    yield from _variables_path_conflicts(app)
    for unit in sorted(_own_units(app) & frozenset(units_beside(app))):
        yield f"{unit} would be the unit of a process or timer, and the app's own: choose another name"
    for other in others:
        for unit in sorted(_units(app) & _units(other)):
            yield str(Reason(f"{app.name} and {other.name}: both would have the unit {unit}", _OTHER_NAME))
        for place in sorted(_sockets(app) & _sockets(other)):
            yield f"{app.name} and {other.name}: both would listen on {place}"


def _path_conflicts(app: App) -> Iterator[str]:
    wanted = {"root": app.root, "shared.root": app.shared_root, "shared.data": app.data_root}
    for key, path in dict.fromkeys(wanted.items()):
        if _is_system_path(path):
            yield f"{key}: {path} belongs to the system"
    if app.deploy_key and not app.deploy_key.is_relative_to(layout.KEYS) and _is_system_path(app.deploy_key):
        yield f"deploy_key: {app.deploy_key} belongs to the system; hookd's keys lie in {layout.KEYS}"


def _variables_path_conflicts(app: App) -> Iterator[str]:
    """Refuse variables of root's that are not for apps, and files of others that systemd would read as root."""
    own, service = layout.app_environment(app.name), app.service
    is_systemd, file = app.uses_systemd, service.environment_file
    if file and is_systemd and not file.is_relative_to(own.parent):
        yield str(Reason(f"service.environment_file: systemd reads {file} as root, use {own}", edit_command(str(own))))
    builds = app.build.environment_file
    if builds and not builds.is_relative_to(own.parent) and _is_system_path(builds):
        yield f"build.environment_file: {builds} belongs to the system, unlike {layout.build_environment(app.name)}"


def _is_system_path(path: Path) -> bool:
    return path == Path("/") or any(path.is_relative_to(place) or place.is_relative_to(path) for place in _SYSTEM_PATHS)


def _units(app: App) -> set[str]:
    return {*_own_units(app), *units_beside(app)}


def _own_units(app: App) -> set[str]:
    """Return the units of an app's service and phases, with those of another handover or an adoption."""
    name = app.service_name
    ends = (*COLOURS, *_TEMPORARY)
    own = {f"{name}.service", f"{name}.socket", *(f"{name}-{end}.service" for end in ends)}
    return {*units_of(app), *own, *possible_units_of_phases(app)}


def _sockets(app: App) -> set[str]:
    """Return the addresses of an app's sockets, as far as hookd makes them."""
    if app.service.units == "existing":
        return {app.service.listen} if app.service.listen else set()
    found = {listen_address(app)}
    if app.service.handover == "blue-green":
        with suppress(Refused):  # The renderer reports an invalid one.
            found |= {f"unix:{health_socket(app, colour)}" for colour in COLOURS}
    return found
