"""Reads the state of systemd units."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.model.units.systemctl import parse_show
from units.system.run import run

_PROPERTIES: Final = (
    "Id LoadState ActiveState SubState UnitFileState Result NRestarts NeedDaemonReload MainPID"
    " ActiveEnterTimestampMonotonic"
).split()
_SECONDS: Final = 5
ABSENT: Final = "this host does not run systemd"


@dataclass(frozen=True)
class Unit:
    """State of a unit in systemd's words. `since` is the time of its activation, in seconds after the host's start."""

    name: str
    load: str = "not-found"
    active: str = "inactive"
    sub: str = ""
    file: str = ""
    result: str = "success"
    restarts: int = 0
    needs_reload: bool = False
    process: int = 0
    since: float = 0

    @property
    def is_up(self) -> bool:
        """Return True if it is running."""
        return self.active in ("active", "reloading")

    def __str__(self) -> str:
        restarts = f", restarted {self.restarts} times by itself" if self.restarts else ""
        return f"{self.name:<28} {self.active}{restarts}"


def is_booted() -> bool:
    """Return True if systemd runs this host."""
    return Path("/run/systemd/system").is_dir()


def read_units(names: Iterable[str], seconds: float = _SECONDS) -> dict[str, Unit]:
    """Ask systemd for several units at once. Raises CommandFailed."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    properties = tuple(f"--property={name}" for name in _PROPERTIES)
    printed = run(("systemctl", "show", *properties, "--", *wanted), seconds=seconds)
    # Answers come in the order of the question. An alias is answered under the unit's own name.
    return {name: _unit(name, shown) for name, shown in zip(wanted, parse_show(printed.splitlines()), strict=True)}


def read_properties(name: str, interface: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Read a unit's properties over D-Bus, which keeps words and lines of a value apart. Raises CommandFailed."""
    escaped = "".join(sign if sign.isalnum() else f"_{ord(sign):02x}" for sign in name)
    where = ("org.freedesktop.systemd1", f"/org/freedesktop/systemd1/unit/{escaped}")
    output = run(("busctl", "--json=short", "get-property", *where, f"org.freedesktop.systemd1.{interface}", *wanted))
    return {key: json.loads(line)["data"] for key, line in zip(wanted, output.splitlines(), strict=True)}


def _unit(name: str, found: Mapping[str, str]) -> Unit:
    return Unit(
        name,
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        file=found.get("UnitFileState", ""),
        result=found.get("Result", ""),
        restarts=_number(found.get("NRestarts")),
        needs_reload=found.get("NeedDaemonReload") == "yes",
        process=_number(found.get("MainPID")),
        since=_number(found.get("ActiveEnterTimestampMonotonic")) / 1_000_000,
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
