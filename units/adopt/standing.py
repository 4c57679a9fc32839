"""What an adoption does with units: starts, stops and the bridge's end."""

from typing import Final

from units.adopt.adoption import Adoption
from units.run import run, succeeds

_SECONDS: Final = 180


def stop_bridge(adoption: Adoption) -> None:
    """Stop the stand-in and what it is asked on: it ends its requests first. Raises CommandFailed."""
    bridge, unit = adoption.bridge_unit, adoption.unit
    names = (f"{bridge}.socket", f"{bridge}.service", f"{unit}-check.socket")
    there = [name for name in names if succeeds(("systemctl", "cat", "--", name))]
    if there:
        run(("systemctl", "stop", *there), seconds=_SECONDS)
        succeeds(("systemctl", "reset-failed", *there))


def is_active(unit: str) -> bool:
    """Tell whether a unit is up."""
    return succeeds(("systemctl", "is-active", "--quiet", "--", unit))
