"""What systemd says of the unit that runs a project: asked over its bus, where words are not joined into a line."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from units.apps.services import sockets_of
from units.system.errors import Refused
from units.system.run import run

_MANAGER: Final = ("busctl", "--json=short", "get-property", "org.freedesktop.systemd1")
_UNIT: Final = ("FragmentPath", "DropInPaths", "ActiveState")
_SERVICE: Final = (
    "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload", "User", "Group",
    "SupplementaryGroups", "WorkingDirectory", "Environment", "EnvironmentFiles", "MainPID", "DynamicUser",
    "RootDirectory",
)  # fmt: skip
_HOOKS: Final = ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload")


@dataclass(frozen=True)
class OldService:
    """A unit as it runs now; `hooks` are its other commands, as NAME=command."""

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
    is_odd: bool
    sockets: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Its name without `.service`."""
        return self.name.removesuffix(".service")


@dataclass(frozen=True)
class ServiceCandidate:
    """A unit of a directory, whether it runs, and the words with which systemd shows its command."""

    name: str
    runs: bool
    command: str


def find_service(root: Path, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """Name the unit to take over, and the others of the directory; raises Refused unless it is clear."""
    found = _find_candidates(root)
    if wanted is not None:
        name = wanted if wanted.endswith(".service") else f"{wanted}.service"
    else:
        running = [one for one in found if one.runs]
        name = _only_name(
            root, [one.name for one in running if "gunicorn" in one.command] or [one.name for one in running]
        )
    return name, tuple(one.name for one in found if one.name != name)


def _only_name(root: Path, names: list[str]) -> str:
    match names:
        case [name]:
            return name
        case []:
            raise Refused([f"no unit works in {root} or starts a program from it"], hint="name it: --unit UNIT")
        case _:
            raise Refused([f"several units run in {root}: {', '.join(names)}"], hint="name the one: --unit UNIT")


def _find_candidates(root: Path) -> list[ServiceCandidate]:
    """The units that work in a directory or start a program from it; a name among their arguments is not enough."""
    printed = run(("systemctl", "show", "*.service", "--property=Id,WorkingDirectory,ExecStart,ActiveState"))
    place = rf"{re.escape(str(root))}(?:/\S*)?"
    inside = re.compile(rf"^(?:WorkingDirectory=!?{place}$|ExecStart={{ path={place} )", re.MULTILINE)
    found = []
    for block in printed.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if inside.search(block) and not values["Id"].endswith("-bridge.service"):
            found.append(ServiceCandidate(values["Id"], values["ActiveState"] == "active", values.get("ExecStart", "")))
    return sorted(found, key=lambda one: one.name)


def read_service(name: str) -> OldService:
    """Read a unit; raises Refused when it is not there or is not a plain service that runs."""
    unit = _properties(name, "Unit", _UNIT)
    if not unit["FragmentPath"]:
        raise Refused([f"there is no unit {name}, or no file of it"])
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
        is_odd=bool(service["DynamicUser"] or service["RootDirectory"]),
        sockets=sockets_of(name),
    )


def _properties(name: str, interface: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    escaped = "".join(sign if sign.isalnum() else f"_{ord(sign):02x}" for sign in name)
    path = f"/org/freedesktop/systemd1/unit/{escaped}"
    printed = run((*_MANAGER, path, f"org.freedesktop.systemd1.{interface}", *wanted))
    return {key: json.loads(line)["data"] for key, line in zip(wanted, printed.splitlines(), strict=True)}
