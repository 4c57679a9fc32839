"""What an adoption asks of systemd: whether a unit is up, and the end of what was there for the take-over alone."""

from pathlib import Path
from typing import Final

from units import disk, layout
from units.adopt.adoption import Adoption
from units.manifest import Manifest
from units.run import run, succeeds

_SECONDS: Final = 180


def stop_bridge(adoption: Adoption) -> None:
    """Stop the bridge and what it and the unit are asked on: it ends its requests first. Raises CommandFailed."""
    _stop(adoption)


def close(adoption: Adoption) -> None:
    """Stop the bridge and the door that hookd opened; a socket of the unit's own stays. Raises CommandFailed.

    All with one command: a door that is open while the bridge stops would start it again.
    """
    _stop(adoption, *(() if adoption.way == "held" else (f"{adoption.unit}.socket",)))
    if adoption.way == "nginx":
        disk.remove(layout.SOCKETS / f"{adoption.name}.sock")


def _stop(adoption: Adoption, *more: str) -> None:
    bridge, check = adoption.bridge_unit, f"{adoption.unit}-check"
    names = (*more, f"{bridge}.socket", f"{bridge}.service", f"{check}.socket", f"{check}.service")
    there = [name for name in names if disk.status(layout.SYSTEMD / name) is not None]
    if there:
        run(("systemctl", "stop", *there), seconds=_SECONDS)
        succeeds(("systemctl", "reset-failed", *there))
    disk.remove(adoption.bridge_socket)


def forget_empty_directories(adoption: Adoption, manifest: Manifest) -> None:
    """Remove the directories of drop-ins that are empty now."""
    for thing in manifest.of(layout.app_scope(adoption.name), "kept directory"):
        if Path(thing.name).parent == layout.SYSTEMD and disk.remove_empty(Path(thing.name)):
            manifest.forget(thing)


def is_active(unit: str) -> bool:
    """Tell whether a unit is up."""
    return succeeds(("systemctl", "is-active", "--quiet", "--", unit))
