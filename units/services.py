"""Starts, stops and shows an app's units for the person who is root; a deployment does not come through here."""

from dataclasses import dataclass

from hookd.contract.catalogue import App
from units.app_plan import units_of
from units.run import run

_SECONDS = 180
_PROPERTIES = ("ActiveState", "SubState", "UnitFileState", "NRestarts", "MainPID")


@dataclass(frozen=True)
class UnitState:
    """How a unit stands, in systemd's words."""

    name: str
    active: str
    enabled: str
    restarts: int

    def __str__(self) -> str:
        restarts = f", restarted {self.restarts} times by itself" if self.restarts else ""
        return f"{self.name:<28} {self.active}{restarts}"


def start(app: App) -> None:
    """Start the app's sockets and the release that serves; raises CommandFailed."""
    if any(_is_active(f"{name}.service") for name in app.services):
        return
    if sockets := [name for name in units_of(app) if name.endswith(".socket")]:
        # systemd refuses to start a socket whose service is there, and the one that starts a colour stays "active".
        run(("systemctl", "stop", f"{app.service_name}.service"), seconds=_SECONDS)
        run(("systemctl", "start", *sockets), seconds=_SECONDS)
    run(("systemctl", "start", f"{app.service_name}.service"), seconds=_SECONDS)


def stop(app: App) -> None:
    """Really stop: all units by name, the sockets first, so that no request starts it again; waits until all are gone.

    Raises CommandFailed.
    """
    run(("systemctl", "stop", *(units_of(app) or tuple(f"{name}.service" for name in app.services))), seconds=_SECONDS)


def restart(app: App) -> None:
    """Restart what runs of the app, in the release that serves; requests wait in its socket. Raises CommandFailed."""
    running = [name for name in sorted(app.services) if _is_active(f"{name}.service")]
    if not running:
        start(app)
        return
    run(("systemctl", "restart", *(f"{name}.service" for name in running)), seconds=_SECONDS)


def _is_active(unit: str) -> bool:
    return state(unit).active in ("active", "activating", "reloading")


def states(app: App) -> list[UnitState]:
    """How each unit of the app stands."""
    return [state(unit) for unit in units_of(app) or tuple(f"{name}.service" for name in sorted(app.services))]


def state(unit: str) -> UnitState:
    """Ask systemd about one unit; needs no privilege."""
    printed = run(("systemctl", "show", *(f"--property={name}" for name in _PROPERTIES), "--", unit))
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return UnitState(
        unit, found.get("ActiveState", "unknown"), found.get("UnitFileState", ""), int(found.get("NRestarts") or 0)
    )
