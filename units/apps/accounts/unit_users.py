"""The user and the variables of existing units, as systemd has them with all drop-ins.

A push decides what such a unit runs.
"""

import pwd
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hookd.model.app import App
from hookd.model.units.systemctl import parse_show
from units.apps.accounts.rules import is_power_group, user_conflicts
from units.system import layout
from units.system.accounts import group_names
from units.system.errors import Reason
from units.system.run import run
from units.system.systemd import read_properties

_COMMANDS: Final = tuple(
    f"Exec{moment}Ex" for moment in ("Condition", "StartPre", "Start", "StartPost", "Reload", "Stop", "StopPost")
)
_PROPERTIES: Final = (
    "LoadState",
    "NeedDaemonReload",
    "User",
    "Group",
    "SupplementaryGroups",
    "DynamicUser",
    *_COMMANDS,
)
# `+` and `!` before a command: it starts as root, in spite of User=.
_AS_ROOT: Final = re.compile(r"; flags=(?:[^;]* )?(?:privileged|no-setuid)\b")

# Phases have values of their own for these, and hookd's drop-in clears the others.
_REPLACED: Final = frozenset(("PATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"))
_CLEARED: Final = frozenset(("PYTHONHOME", "PYTHONPATH"))


@dataclass(frozen=True)
class UnitUser:
    """User and groups of a unit. `as_root` are its commands that start as root in any case, after their property.

    `unread` are the properties with a command of an unknown format, which may start as root.
    """

    unit: str
    user: str
    groups: frozenset[str] = frozenset()
    is_dynamic: bool = False
    is_outdated: bool = False
    as_root: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()


def unit_user_problems(app: App) -> Iterator[Reason]:
    """Ask systemd for the users of an app's loaded services, and return the problems."""
    if app.uses_systemd:
        yield from _problems_of(app, sorted({*app.services, *app.service.restart_also}))


def _problems_of(app: App, names: Collection[str]) -> Iterator[Reason]:
    for found in read_unit_users(f"{name}.service" for name in names):
        yield from user_problems(found, app.ownership.user)
        for command in _pushed_commands(app, found):
            hint = f"sudo systemctl edit {found.unit}"
            yield Reason(f"{found.unit} runs a command as root (+ or !): {command}", hint)


def existing_unit_problems(app: App) -> Iterator[Reason]:
    """Return the problems of units that hookd did not make."""
    if app.uses_systemd:
        own = sorted(app.services) if app.service.units == "existing" else ()
        yield from _problems_of(app, (*own, *app.service.restart_also))


def read_unit_users(units: Iterable[str]) -> list[UnitUser]:
    """Ask systemd for the users of units, without missing ones. Raises CommandFailed."""
    names = list(units)
    if not names:
        return []
    printed = run(("systemctl", "show", *(f"--property={name}" for name in _PROPERTIES), "--", *names))
    shown = zip(names, parse_show(printed.splitlines()), strict=True)
    return [_unit_user(name, found) for name, found in shown if found["LoadState"] == "loaded"]


def unit_variables(app: App, unit: str) -> frozenset[str]:
    """Return the names of a unit's own variables, without those that hookd replaces. Raises CommandFailed."""
    pairs = read_properties(unit, "Service", ("Environment",))["Environment"]
    has_drop_in = bool(app.service.listen or app.service.own_socket)
    replaced = _REPLACED | (_CLEARED if has_drop_in else frozenset())
    names = (pair.partition("=")[0] for pair in pairs)
    return frozenset(name for name in names if name not in replaced and not name.startswith("HOOKD_"))


def _unit_user(unit: str, found: Mapping[str, str]) -> UnitUser:
    commands = [(name, line) for name in _COMMANDS for line in found.get(name, "").splitlines()]
    return UnitUser(
        unit,
        _user_name(found["User"]),
        frozenset(_group_name(group) for group in (found["Group"], *found["SupplementaryGroups"].split()) if group),
        is_dynamic=found["DynamicUser"] == "yes",
        is_outdated=found["NeedDaemonReload"] == "yes",
        as_root=tuple((name, _argv(line)) for name, line in commands if _AS_ROOT.search(line)),
        unread=tuple(dict.fromkeys(name for name, line in commands if "; flags=" not in line)),
    )


def _argv(line: str) -> str:
    """Return the arguments of a command that `systemctl show` printed."""
    return line.partition("argv[]=")[2].partition(" ; ")[0]


def _pushed_commands(app: App, found: UnitUser) -> Iterator[str]:
    """Return the commands as root that can be the app's own. hookd's drop-in replaces all but the condition."""
    is_replaced = bool(app.service.listen or app.service.own_socket)
    for name, command in found.as_root:
        is_kept = not is_replaced or name == "ExecConditionEx"
        if is_kept and (name == "ExecStartEx" or str(app.root) in command):
            yield command


def user_problems(found: UnitUser, wanted: str) -> Iterator[Reason]:
    """Return the reasons why a unit may not run an app whose user is `wanted`."""
    unit, edit = found.unit, f"sudo systemctl edit {found.unit}"
    usable = layout.WEB if any(user_conflicts(wanted)) else wanted
    if found.is_outdated:
        yield Reason(f"{unit} changed on disk, so its user is unknown", "sudo systemctl daemon-reload")
    elif found.user == "root":
        yield Reason(f"{unit} runs as root, and so would each push: set User={usable}", edit)
    elif found.is_dynamic:
        yield Reason(f"{unit} has DynamicUser=, which owns no files: set User={usable}", edit)
    elif any(user_conflicts(found.user)):
        yield Reason(f"{unit} runs as {found.user}, which is not for apps: set User={usable}", edit)
    elif found.user != wanted:
        yield Reason(f"{unit} has User={found.user}, but the app's user is {wanted}", edit)
    for name in found.unread:
        show = f"systemctl show --property={name} {unit}"
        yield Reason(f"{unit} has a command that hookd cannot read ({name})", show)
    for group in sorted(filter(is_power_group, found.groups)):
        yield Reason(f"{unit} has the group {group}, which is not for apps", edit)


def _user_name(text: str) -> str:
    """Return the name of a user that a unit names by name or number. Without a name it is root."""
    if text.isdecimal():
        with suppress(KeyError):
            return pwd.getpwuid(int(text)).pw_name
    return text or "root"


def _group_name(text: str) -> str:
    return next(iter(group_names([int(text)])), text) if text.isdecimal() else text
