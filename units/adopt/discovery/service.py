"""systemd unit of a project, found by its directory and read over D-Bus, which keeps words apart."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.model.systemctl import parse_show
from units.apps.services import sockets_of
from units.system.errors import Refused
from units.system.run import run

_MANAGER: Final = ("busctl", "--json=short", "get-property", "org.freedesktop.systemd1")
_UNIT: Final = ("FragmentPath", "DropInPaths", "ActiveState")
_HOOKS: Final = ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload")
_SERVICE: Final = (
    "ExecStart", *_HOOKS, "User", "Group", "SupplementaryGroups", "WorkingDirectory", "Environment",
    "EnvironmentFiles", "MainPID", "DynamicUser", "RootDirectory",
)  # fmt: skip


@dataclass(frozen=True)
class OldService:
    """A unit as it runs now. `hooks` are its other commands, as NAME=command."""

    name: str
    fragment: Path
    drop_ins: tuple[Path, ...]
    active: str
    argv: tuple[str, ...]
    hooks: tuple[str, ...]
    user: str
    group: str
    groups: tuple[str, ...]
    directory: Path | None
    environment: tuple[str, ...]
    files: tuple[Path, ...]
    main_pid: int
    is_unsupported: bool
    sockets: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The unit's name without `.service`."""
        return self.name.removesuffix(".service")


def find_service(root: Path, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the unit to adopt and the directory's other units. Raises Refused unless exactly one unit fits."""
    properties = "--property=Id,WorkingDirectory,ExecStart,ActiveState"
    candidates = units_in(root, run(("systemctl", "show", "*.service", properties)))
    if wanted is not None:
        name = wanted if wanted.endswith(".service") else f"{wanted}.service"
    else:
        running = {one["Id"]: one.get("ExecStart", "") for one in candidates if one["ActiveState"] == "active"}
        gunicorns = [name for name, command in running.items() if "gunicorn" in command]
        name = _only_name(root, gunicorns or list(running))
    return name, tuple(one["Id"] for one in candidates if one["Id"] != name)


def _only_name(root: Path, names: list[str]) -> str:
    match names:
        case [name]:
            return name
        case []:
            raise Refused([f"no running unit uses {root}"], hint="name the unit: --unit UNIT")
        case _:
            raise Refused([f"several running units use {root}: {', '.join(names)}"], hint="name the unit: --unit UNIT")


def units_in(root: Path, output: str) -> list[dict[str, str]]:
    """Return the units that work in a directory or start a program from it. A mere argument does not count."""
    place = rf"{re.escape(str(root))}(?:/\S*)?"
    directory, program = re.compile(rf"!?{place}"), re.compile(rf"^{{ path={place} ", re.MULTILINE)
    units = (
        unit
        for unit in parse_show(output.splitlines())
        if directory.fullmatch(unit.get("WorkingDirectory", "")) or program.search(unit.get("ExecStart", ""))
    )
    own = (unit for unit in units if not unit["Id"].endswith("-interim.service"))
    return sorted(own, key=lambda unit: unit["Id"])


def read_service(name: str) -> OldService:
    """Read a unit. Raises Refused if it has no file."""
    unit = _properties(name, "Unit", _UNIT)
    if not unit["FragmentPath"]:
        raise Refused([f"the unit {name} or its file does not exist"])
    service = _properties(name, "Service", _SERVICE)
    return OldService(
        name=name,
        fragment=Path(unit["FragmentPath"]),
        drop_ins=tuple(map(Path, unit["DropInPaths"])),
        active=unit["ActiveState"],
        argv=tuple(service["ExecStart"][0][1]) if service["ExecStart"] else (),
        hooks=tuple(f"{hook}={' '.join(one[1])}" for hook in _HOOKS for one in service[hook]),
        user=service["User"],
        group=service["Group"],
        groups=tuple(service["SupplementaryGroups"]),
        directory=Path(service["WorkingDirectory"].lstrip("!-")) if service["WorkingDirectory"] else None,
        environment=tuple(service["Environment"]),
        files=tuple(Path(path) for path, _ in service["EnvironmentFiles"]),
        main_pid=service["MainPID"],
        is_unsupported=bool(service["DynamicUser"] or service["RootDirectory"]),
        sockets=sockets_of(name),
    )


def _properties(name: str, interface: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    escaped = "".join(sign if sign.isalnum() else f"_{ord(sign):02x}" for sign in name)
    path = f"/org/freedesktop/systemd1/unit/{escaped}"
    output = run((*_MANAGER, path, f"org.freedesktop.systemd1.{interface}", *wanted))
    return {key: json.loads(line)["data"] for key, line in zip(wanted, output.splitlines(), strict=True)}
