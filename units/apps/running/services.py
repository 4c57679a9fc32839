"""Starts, stops and shows an app's units, for the commands of root. Deployments do not use it."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from hookd.model.app import App
from hookd.model.tables.processes import stop_seconds
from hookd.model.tables.service import Colour
from hookd.model.units.backup import dump_unit, restore_unit
from hookd.model.units.phases import possible_units_of_phases
from hookd.model.units.processes import (
    all_processes,
    process_instances,
    process_patterns,
    processes_of,
    run_units,
    template_of,
    timed_units,
    timer_units,
)
from units.apps.changes import enabled_units, units_of
from units.apps.variables import require_plain_variables
from units.changes.change import RUN_SECONDS, Run
from units.changes.manifest import Manifest
from units.system import disk, layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run, succeeds
from units.system.systemd import Unit, read_units

_SECONDS: Final = 180
_SHOW_SECONDS: Final = 60


def start(app: App) -> None:
    """Start the app's sockets, its current release, its processes and timers. Raises HostError, CommandFailed."""
    _require_systemd(app)
    _start_web(app)
    if units := (*_serving_processes(app), *timer_units(app)):
        succeeds(("systemctl", "reset-failed", *units))
        run(("systemctl", "start", *units), seconds=_SECONDS)


def _start_web(app: App) -> None:
    if active_services(app):
        # A deployment after a stop starts one colour only, because the worker may start nothing else.
        if units := enabled_units(app):
            run(("systemctl", "start", *units), seconds=_SECONDS)
        return
    if sockets := [name for name in _units_with_sockets(app) if name.endswith(".socket")]:
        # systemd starts no socket of an active service, and a parent unit stays active.
        run(("systemctl", "stop", f"{app.service_name}.service"), seconds=_SECONDS)
        run(("systemctl", "start", *sockets), seconds=_SECONDS)
    run(("systemctl", "start", f"{app.service_name}.service"), seconds=_SECONDS)


def stop(app: App) -> None:
    """Stop all units and wait for their end. Sockets stop first, so that no request starts the app again.

    A backup and a restore stop too, because they use the app's data. Raises HostError, CommandFailed.
    """
    _require_systemd(app)
    backup = (unit for unit in (restore_unit(app), dump_unit(app)) if disk.status(layout.SYSTEMD / unit))
    timed = (unit for unit in (*timer_units(app), *timed_units(app)) if disk.status(layout.SYSTEMD / unit))
    units = (*_units_with_sockets(app), *timed, *process_patterns(app), *backup, run_units(app))
    run(("systemctl", "stop", *units), seconds=_SECONDS + stop_seconds(app))


def restart(app: App) -> None:
    """Restart the app's active services and its processes. Requests wait in its socket.

    Refuses misread variables, because most restarts follow a change of them. Raises HostError, CommandFailed.
    """
    _require_systemd(app)
    require_plain_variables(app)
    _restart((*active_services(app), *_serving_processes(app)), _SECONDS + stop_seconds(app))
    start(app)


def restart_process(app: App, name: str) -> None:
    """Restart all processes of one kind in the release that serves. Raises HostError, CommandFailed."""
    _require_systemd(app)
    require_plain_variables(app)
    units = [unit for colour in _serving_colours(app) for unit in process_instances(app, name, colour)]
    if not units:
        raise HostError(f"no release of {app.name} serves", hint=f"hookd status {app.name}")
    _restart(units, _SECONDS + app.processes[name].stop_seconds)


def _restart(units: Sequence[str], seconds: int) -> None:
    """Restart units, also those that systemd refuses to start because they were started too often."""
    if units:
        succeeds(("systemctl", "reset-failed", *units))
        run(("systemctl", "restart", *units), seconds=seconds)


def _serving_processes(app: App) -> tuple[str, ...]:
    return tuple(unit for colour in _serving_colours(app) for unit in processes_of(app, colour))


def _serving_colours(app: App) -> list[Colour | None]:
    """Return the colours whose service runs, or [None] for an app without colours."""
    if not app.colours:
        return [None]
    active = active_services(app)
    return [colour for colour in app.colours if f"{app.service_of(colour)}.service" in active]


def _require_systemd(app: App) -> None:
    if not app.uses_systemd:
        hint = f"circusctl --endpoint {app.service.endpoint} status"
        raise HostError(f"{app.name} is run by {app.service.manager}, not by systemd", hint=hint)


def stop_commands(apps: Iterable[App], manifest: Manifest) -> list[Run]:
    """Build the commands that stop apps and their phases, and that disable the units that hookd made."""
    apps = tuple(apps)
    known = [unit for app in apps for unit in (*timer_units(app), *_units_with_sockets(app), *all_processes(app))]
    units = [unit for unit in known if succeeds(("systemctl", "cat", "--", unit))]
    made = [unit for unit in units if manifest.has("file", str(layout.SYSTEMD / template_of(unit)))]
    units += [unit for app in apps for unit in timed_units(app) if succeeds(("systemctl", "cat", "--", unit))]
    # A phase of an earlier configuration may still run.
    phases = [unit for app in apps for unit in possible_units_of_phases(app)]
    own = (unit for unit in phases if manifest.has("file", str(layout.SYSTEMD / unit)))
    # A killed removal may have deleted the file already.
    units += [unit for unit in own if succeeds(("systemctl", "cat", "--", unit))]
    units += [unit for app in apps if app.uses_systemd for unit in (*process_patterns(app), run_units(app))]
    seconds = RUN_SECONDS + max(map(stop_seconds, apps), default=0)
    stop = Run(("systemctl", "stop", *units), "the app stops", seconds=seconds)
    disable = Run(("systemctl", "disable", "--quiet", *made), "its units no longer start with the host")
    return [*([stop] if units else []), *([disable] if made else [])]


def end_commands(old: App, app: App) -> list[Run]:
    """Build the commands that end the processes and timers that an edited app has no more.

    Old and new schedulers must not run side by side, so this comes before the first deployment of a new handover.
    """
    kept = {*all_processes(app), *timer_units(app), *timed_units(app)}
    enabled = [unit for unit in (*timer_units(old), *(() if old.colours else all_processes(old))) if unit not in kept]
    gone = [unit for unit in (*timer_units(old), *timed_units(old), *all_processes(old)) if unit not in kept]
    disable = Run(("systemctl", "disable", "--quiet", *enabled), "they no longer start with the host")
    seconds = RUN_SECONDS + stop_seconds(old)
    stop = Run(("systemctl", "stop", *gone), "no longer part of the app", seconds=seconds)
    return [*([disable] if enabled else []), *([stop] if gone else [])]


def _units_with_sockets(app: App) -> tuple[str, ...]:
    """Return the app's units and all sockets that start them, foreign ones too. Sockets come first."""
    units = units_of(app)
    return tuple(dict.fromkeys((*sockets_of(*(unit for unit in units if unit.endswith(".service"))), *units)))


def sockets_of(*units: str) -> tuple[str, ...]:
    """Ask systemd for the sockets that start these units."""
    if not units:
        return ()
    printed = run(("systemctl", "show", "--property=TriggeredBy", "--value", "--", *units))
    return tuple(unit for unit in printed.split() if unit.endswith(".socket"))


def active_services(app: App) -> list[str]:
    """Return the app's services that run or are about to."""
    units = read_units((f"{name}.service" for name in app.services), _SHOW_SECONDS)
    return [name for name, unit in units.items() if unit.active in ("active", "activating", "reloading")]


def unit_states(app: App) -> list[Unit]:
    """Return the state of the app's units, or none without systemd. Needs no privilege."""
    with suppress(CommandFailed):
        beside = (*timer_units(app), *timed_units(app), *all_processes(app))
        names = _units_with_sockets(app)
        units = read_units((*names, *beside), _SHOW_SECONDS)
        # The processes of an idle colour, and commands between their times, are no news.
        quiet = {*timed_units(app), *(all_processes(app) if app.colours else ())}
        return [units[name] for name in (*names, *beside) if name not in quiet or units[name].active != "inactive"]
    return []
