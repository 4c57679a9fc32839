"""Starts, stops and shows an app's units for the person who is root; a deployment does not come through here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hookd.model.app import App
from units.apps.plan import enabled_units, units_of
from units.plan.manifest import Manifest
from units.plan.steps import Run
from units.system import layout
from units.system.errors import HostError
from units.system.run import run, succeeds

_SECONDS: Final = 180
_PROPERTIES: Final = ("ActiveState", "NRestarts")


@dataclass(frozen=True)
class UnitState:
    """How a unit stands, in systemd's words."""

    name: str
    active: str
    restarts: int

    def __str__(self) -> str:
        restarts = f", restarted {self.restarts} times by itself" if self.restarts else ""
        return f"{self.name:<28} {self.active}{restarts}"


def start(app: App) -> None:
    """Start the app's sockets and the release that serves; raises HostError and CommandFailed."""
    _require_systemd(app)
    if any(_is_active(f"{name}.service") for name in app.services):
        # A deployment after a stop starts a colour alone, since the worker may start nothing else.
        if units := enabled_units(app):
            run(("systemctl", "start", *units), seconds=_SECONDS)
        return
    if sockets := [name for name in units_with_sockets(app) if name.endswith(".socket")]:
        # systemd refuses to start a socket whose service is there, and the one that starts a colour stays "active".
        run(("systemctl", "stop", f"{app.service_name}.service"), seconds=_SECONDS)
        run(("systemctl", "start", *sockets), seconds=_SECONDS)
    run(("systemctl", "start", f"{app.service_name}.service"), seconds=_SECONDS)


def stop(app: App) -> None:
    """Really stop: all units by name, the sockets first, so that no request starts it again; waits until all are gone.

    Raises HostError and CommandFailed.
    """
    _require_systemd(app)
    run(("systemctl", "stop", *units_with_sockets(app)), seconds=_SECONDS)


def restart(app: App) -> None:
    """Restart what runs of the app, in the release that serves; requests wait in its socket.

    Raises HostError and CommandFailed.
    """
    _require_systemd(app)
    running = [name for name in sorted(app.services) if _is_active(f"{name}.service")]
    if not running:
        start(app)
        return
    run(("systemctl", "restart", *(f"{name}.service" for name in running)), seconds=_SECONDS)
    start(app)


def _require_systemd(app: App) -> None:
    if app.service.manager != "systemd":
        hint = f"circusctl --endpoint {app.service.endpoint} status"
        raise HostError(f"{app.name} is run by {app.service.manager}, not by systemd", hint=hint)


def stop_steps(apps: Iterable[App], manifest: Manifest) -> list[Run]:
    """What stops apps that are to go; units that hookd made do not come back after a reboot either."""
    units = [unit for app in apps for unit in units_with_sockets(app) if succeeds(("systemctl", "cat", "--", unit))]
    made = [unit for unit in units if manifest.has("file", str(layout.SYSTEMD / unit))]
    stop = Run(("systemctl", "stop", *units), "the app stops, its sockets first")
    disable = Run(("systemctl", "disable", "--quiet", *made), "and does not come back")
    return [*([stop] if units else []), *([disable] if made else [])]


def units_with_sockets(app: App) -> tuple[str, ...]:
    """The app's units and every socket that starts one of them, also one that somebody else made: sockets first."""
    units = units_of(app)
    return tuple(dict.fromkeys((*sockets_of(*(unit for unit in units if unit.endswith(".service"))), *units)))


def sockets_of(*units: str) -> tuple[str, ...]:
    """The sockets that start these units, as systemd knows them."""
    if not units:
        return ()
    printed = run(("systemctl", "show", "--property=TriggeredBy", "--value", "--", *units))
    return tuple(unit for unit in printed.split() if unit.endswith(".socket"))


def _is_active(unit: str) -> bool:
    return unit_state(unit).active in ("active", "activating", "reloading")


def unit_states(app: App) -> list[UnitState]:
    """How each unit of the app stands."""
    return [unit_state(unit) for unit in units_with_sockets(app)]


def unit_state(unit: str) -> UnitState:
    """Ask systemd about one unit; needs no privilege."""
    printed = run(("systemctl", "show", *(f"--property={name}" for name in _PROPERTIES), "--", unit))
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return UnitState(unit, found.get("ActiveState", "unknown"), int(found.get("NRestarts") or 0))
