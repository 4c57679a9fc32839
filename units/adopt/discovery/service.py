"""systemd unit of a project, found by its directory and read over D-Bus, and the process that it runs."""

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.http_probe import NoAnswer, parse_address, request_status
from hookd.model.tables.health import Health
from hookd.model.units.systemctl import parse_show
from units.apps.running.services import sockets_of
from units.system.errors import Refused
from units.system.run import run
from units.system.systemd import read_properties

_HOOKS: Final = ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload")
_SERVICE: Final = (
    *("ExecStart", *_HOOKS, "WorkingDirectory", "Environment", "EnvironmentFiles", "MainPID"),
    *("DynamicUser", "RootDirectory"),
)


@dataclass(frozen=True)
class OldService:
    """A unit as it runs now. `hooks` are its other commands, as NAME=command. `files` hold its variables."""

    name: str
    fragment: Path
    drop_ins: tuple[Path, ...]
    argv: tuple[str, ...]
    hooks: tuple[str, ...]
    directory: Path | None
    environment: tuple[str, ...]
    files: tuple[Path, ...]
    process: int
    is_unsupported: bool
    sockets: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The unit's name without `.service`."""
        return self.name.removesuffix(".service")

    @property
    def unit_files(self) -> tuple[Path, ...]:
        """Its own file and its drop-ins, in systemd's order."""
        return (self.fragment, *self.drop_ins)


@dataclass(frozen=True)
class ServiceUser:
    """The user of the project's process, with the ids of all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_write(self, found: os.stat_result) -> bool:
        """Return True if the mode bits allow this user to write."""
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o200)
        return bool(found.st_mode & (0o020 if found.st_gid in self.groups else 0o002))


def find_service(root: Path, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the unit to adopt and the directory's other units. Raises Refused unless exactly one unit fits."""
    properties = "--property=Id,WorkingDirectory,ExecStart,ActiveState"
    candidates = units_in(root, run(("systemctl", "show", "*.service", properties)))
    if wanted is not None:
        name = wanted if wanted.endswith(".service") else f"{wanted}.service"
    else:
        running = {unit["Id"]: unit.get("ExecStart", "") for unit in candidates if unit["ActiveState"] == "active"}
        names = [name for name, command in running.items() if "gunicorn" in command] or list(running)
        if len(names) != 1:
            found = f"several running units use {root}: {', '.join(names)}" if names else f"no running unit uses {root}"
            raise Refused([found], hint=f"sudo hookd app adopt {root} --unit UNIT")
        name = names[0]
    return name, tuple(unit["Id"] for unit in candidates if unit["Id"] != name)


def units_in(root: Path, output: str) -> list[dict[str, str]]:
    """Return the units that work in a directory or start a program from it. A mere argument does not count."""
    place = rf"{re.escape(str(root))}(?:/\S*)?"
    directory, program = re.compile(rf"!?{place}"), re.compile(rf"^{{ path={place} ", re.MULTILINE)
    units = (unit for unit in parse_show(output.splitlines()) if not unit["Id"].endswith("-interim.service"))
    own = (
        unit
        for unit in units
        if directory.fullmatch(unit.get("WorkingDirectory", "")) or program.search(unit.get("ExecStart", ""))
    )
    return sorted(own, key=lambda unit: unit["Id"])


def read_service(name: str) -> OldService:
    """Read a running unit. Raises Refused if it has no file or no process."""
    unit = read_properties(name, "Unit", ("FragmentPath", "DropInPaths", "ActiveState"))
    if not unit["FragmentPath"]:
        raise Refused([f"the unit {name} or its file does not exist"])
    service = read_properties(name, "Service", _SERVICE)
    if unit["ActiveState"] != "active" or not service["MainPID"]:
        raise Refused([f"{name} is not running"], hint=f"systemctl start {name}")
    return OldService(
        name=name,
        fragment=Path(unit["FragmentPath"]),
        drop_ins=tuple(map(Path, unit["DropInPaths"])),
        argv=tuple(service["ExecStart"][0][1]) if service["ExecStart"] else (),
        hooks=tuple(f"{hook}={' '.join(command[1])}" for hook in _HOOKS for command in service[hook]),
        directory=Path(service["WorkingDirectory"].lstrip("!-")) if service["WorkingDirectory"] else None,
        environment=tuple(service["Environment"]),
        files=tuple(Path(path) for path, _ in service["EnvironmentFiles"]),
        process=service["MainPID"],
        is_unsupported=bool(service["DynamicUser"] or service["RootDirectory"]),
        sockets=sockets_of(name),
    )


def read_user(unit: OldService) -> ServiceUser:
    """Return the user of the unit's process. Raises Refused if it has no name."""
    lines = Path(f"/proc/{unit.process}/status").read_text(encoding="utf-8").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    uid = int(status["Uid"][0])
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Refused([f"the user of {unit.name}, id {uid}, does not exist"]) from None
    return ServiceUser(name, uid, frozenset(map(int, (status["Gid"][0], *status["Groups"]))))


def listeners(process: int) -> tuple[str, ...]:
    """Return the addresses that a process listens on, as `service.listen` has them, but for gunicorn's control socket.

    Raises CommandFailed.
    """
    lines = run(("ss", "-H", "-l", "-n", "-t", "-x", "-p")).splitlines()
    rows = (line.split() for line in lines if f",pid={process}," in line)
    # `*` is every address of both families.
    found = {f"unix:{row[4]}" if row[0] == "u_str" else row[4].replace("*", "[::]") for row in rows}
    return tuple(sorted(address for address in found if not address.endswith(".ctl")))


def answers(address: str, page: str, host: str, seconds: float, health: Health | None = None) -> bool:
    """Return True if a page answers with 200, or with a status that an app's health check accepts."""
    try:
        status = request_status(parse_address(address), page, host, seconds)
        return health.accepts(status) if health else status == 200
    except (NoAnswer, OSError):
        return False


def children(process: int) -> tuple[int, ...]:
    """Return the running child processes. Raises OSError."""
    return tuple(map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()))


def command_line(process: int) -> tuple[str, ...]:
    """Return the command line of a process. Raises OSError."""
    return tuple(Path(f"/proc/{process}/cmdline").read_text(errors="replace").rstrip("\0").split("\0"))
