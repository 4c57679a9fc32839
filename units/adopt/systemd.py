"""What an adoption asks of systemd: whether a unit is up, and the end of what was there for the take-over alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hookd.model.app import Health
from units.adopt.state import Adoption
from units.plan.manifest import Manifest
from units.system import disk, layout
from units.system.errors import HostError
from units.system.http import Address, NoAnswer, status_of
from units.system.run import run, succeeds

_SECONDS: Final = 180


def stop_bridge(adoption: Adoption) -> None:
    """Stop the bridge and what it and the unit are asked on: it ends its requests first. Raises CommandFailed."""
    _stop(adoption)


def stop_interim_units(adoption: Adoption) -> None:
    """Stop the bridge and the door that hookd opened; a socket of the unit's own stays. Raises CommandFailed.

    All with one command: a door that is open while the bridge stops would start it again.
    """
    _stop(adoption, *(() if adoption.way == "held" else (f"{adoption.unit}.socket",)))
    if adoption.way == "nginx":
        disk.remove(layout.SOCKETS / f"{adoption.name}.sock")


def _stop(adoption: Adoption, *more: str) -> None:
    bridge, check = adoption.interim_unit, f"{adoption.unit}-check"
    names = (*more, f"{bridge}.socket", f"{bridge}.service", f"{check}.socket", f"{check}.service")
    there = [name for name in names if disk.status(layout.SYSTEMD / name) is not None]
    if there:
        run(("systemctl", "stop", *there), seconds=_SECONDS)
        succeeds(("systemctl", "reset-failed", *there))
    disk.remove(adoption.interim_socket)


def remove_empty_directories(adoption: Adoption, manifest: Manifest) -> None:
    """Remove the directories of drop-ins that are empty now."""
    for thing in manifest.of(layout.app_scope(adoption.name), "kept directory"):
        if Path(thing.name).parent == layout.SYSTEMD and disk.remove_empty(Path(thing.name)):
            manifest.forget(thing)


def is_active(unit: str) -> bool:
    """Tell whether a unit is up."""
    return succeeds(("systemctl", "is-active", "--quiet", "--", unit))


_PAUSE_SECONDS: Final = 0.1


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition; raises HostError when it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HostError(f"{what}: not within {seconds:g} s")
        time.sleep(_PAUSE_SECONDS)


def wait_until_healthy(address: Address, page: str, health: Health, whom: str) -> None:
    """Wait for as many healthy answers in a row as the app's file asks for; raises HostError."""
    seen: list[bool] = []

    def well() -> bool:
        seen.append(_status(address, page, health) == health.status)
        return seen[-health.successes :] == [True] * health.successes

    wait_until(well, f"{whom} does not answer {health.status} on {page}", health.deadline)


def _status(address: Address, page: str, health: Health) -> int | None:
    try:
        return status_of(address, page, health.host, health.timeout)
    except (NoAnswer, OSError):
        return None
