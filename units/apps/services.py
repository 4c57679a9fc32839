"""Starts, stops and shows an app's units, for the commands of root. Deployments do not use it."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from hookd.model.app import App
from units.apps.plan import enabled_units, units_of
from units.plan.manifest import Manifest
from units.plan.steps import Run
from units.system import layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run, succeeds
from units.system.systemd import Unit, read_units

_SECONDS: Final = 180
_SHOW_SECONDS: Final = 60


def start(app: App) -> None:
    """Start the app's sockets and its current release. Raises HostError, CommandFailed."""
    _require_systemd(app)
    if _active_services(app):
        # A deployment after a stop starts one colour only, because the worker may start nothing else.
        if units := enabled_units(app):
            run(("systemctl", "start", *units), seconds=_SECONDS)
        return
    if sockets := [name for name in units_with_sockets(app) if name.endswith(".socket")]:
        # systemd starts no socket of an active service, and a parent unit stays active.
        run(("systemctl", "stop", f"{app.service_name}.service"), seconds=_SECONDS)
        run(("systemctl", "start", *sockets), seconds=_SECONDS)
    run(("systemctl", "start", f"{app.service_name}.service"), seconds=_SECONDS)


def stop(app: App) -> None:
    """Stop all units and wait for their end. Sockets stop first, so that no request starts the app again.

    Raises HostError, CommandFailed.
    """
    _require_systemd(app)
    run(("systemctl", "stop", *units_with_sockets(app)), seconds=_SECONDS)


def restart(app: App) -> None:
    """Restart the app's active services. Requests wait in its socket. Raises HostError, CommandFailed."""
    _require_systemd(app)
    if active := _active_services(app):
        run(("systemctl", "restart", *active), seconds=_SECONDS)
    start(app)


def _require_systemd(app: App) -> None:
    if app.service.manager != "systemd":
        hint = f"circusctl --endpoint {app.service.endpoint} status"
        raise HostError(f"{app.name} is run by {app.service.manager}, not by systemd", hint=hint)


def stop_steps(apps: Iterable[App], manifest: Manifest) -> list[Run]:
    """Build the commands that stop apps, and that disable the units that hookd made."""
    units = [unit for app in apps for unit in units_with_sockets(app) if succeeds(("systemctl", "cat", "--", unit))]
    made = [unit for unit in units if manifest.has("file", str(layout.SYSTEMD / unit))]
    stop = Run(("systemctl", "stop", *units), "the app stops")
    disable = Run(("systemctl", "disable", "--quiet", *made), "its units no longer start with the host")
    return [*([stop] if units else []), *([disable] if made else [])]


def units_with_sockets(app: App) -> tuple[str, ...]:
    """Return the app's units and all sockets that start them, foreign ones too. Sockets come first."""
    units = units_of(app)
    return tuple(dict.fromkeys((*sockets_of(*(unit for unit in units if unit.endswith(".service"))), *units)))


def sockets_of(*units: str) -> tuple[str, ...]:
    """Ask systemd for the sockets that start these units."""
    if not units:
        return ()
    printed = run(("systemctl", "show", "--property=TriggeredBy", "--value", "--", *units))
    return tuple(unit for unit in printed.split() if unit.endswith(".socket"))


def _active_services(app: App) -> list[str]:
    units = read_units((f"{name}.service" for name in app.services), _SHOW_SECONDS)
    return [name for name, unit in units.items() if unit.active in ("active", "activating", "reloading")]


def unit_states(app: App) -> list[Unit]:
    """Return the state of the app's units, or none without systemd. Needs no privilege."""
    with suppress(CommandFailed):
        names = units_with_sockets(app)
        units = read_units(names, _SHOW_SECONDS)
        return [units[name] for name in names]
    return []
