"""How the units stand, asked of systemd once for all checks; nothing is started, stopped or reloaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from units.system.run import run

_PROPERTIES: Final = (
    "Id LoadState ActiveState SubState UnitFileState Result NRestarts NeedDaemonReload MainPID"
    " ActiveEnterTimestampMonotonic"
).split()
_SECONDS: Final = 5


@dataclass(frozen=True)
class Unit:
    """One unit, in systemd's words; `since` is when it became active, in seconds since the host's start."""

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
        """Tell whether it does its work now."""
        return self.active in ("active", "reloading")


def read_units(names: Iterable[str]) -> dict[str, Unit]:
    """Ask for several units at once; raises CommandFailed when systemd does not answer."""
    wanted = sorted(set(names))
    properties = tuple(f"--property={name}" for name in _PROPERTIES)
    printed = run(("systemctl", "show", *properties, "--", *wanted), seconds=_SECONDS)
    blocks = [_table(block) for block in printed.split("\n\n")]
    # An answer has the unit's own name, which is another than the one asked for when that is an alias.
    return {name: _unit(name, block) for name, block in zip(wanted, blocks, strict=True)}


def _table(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


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
