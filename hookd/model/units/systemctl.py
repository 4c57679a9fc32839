"""systemctl: the commands that the worker may run as root, and the reader of its answers."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

from hookd.model.app import App
from hookd.model.units.phases import in_use_unit, phase_unit, phases_of
from hookd.model.units.processes import process_groups

SUDO: Final = "/usr/bin/sudo"
SYSTEMCTL: Final = "/usr/bin/systemctl"
Verb = Literal["start", "stop", "restart"]
# After many starts systemd refuses one more, until the unit is reset.
GroupVerb = Literal["start", "stop", "reset-failed"]
_GROUP_VERBS: Final[tuple[GroupVerb, ...]] = get_args(GroupVerb)
# systemd prints one line for each command of a unit, so these come again inside one unit.
_REPEATED: Final = ("ExecStart", "ExecStop", "ExecReload", "ExecCondition")


def sudo_commands(app: App) -> tuple[tuple[str, ...], ...]:
    """Return every argument vector that sudo allows for an app, or none if circus runs it.

    The sudoers files are rendered from this list. A test compares it with the worker's commands.
    """
    if not app.uses_systemd:
        return ()
    verbs: tuple[Verb, ...] = ("restart",) if app.service.handover == "restart" else ("start", "stop", "restart")
    services = ((SYSTEMCTL, verb, f"{name}.service") for name in sorted(app.services) for verb in verbs)
    units = [phase_unit(app, phase) for phase in phases_of(app)]
    phases = (command for unit in units for command in (start_phase(unit), stop_phase(unit)))
    in_use = start_phase(in_use_unit(app))
    groups = (group for colour in app.colours or (None,) for group in process_groups(app, colour))
    processes = ((SYSTEMCTL, verb, *group) for group in groups for verb in _GROUP_VERBS)
    others = ((SYSTEMCTL, "restart", f"{name}.service") for name in app.service.restart_also)
    return (*services, *phases, in_use, *processes, *others)


def start_phase(unit: str) -> tuple[str, ...]:
    """Return the command that starts the unit of a phase and waits for its end."""
    return (SYSTEMCTL, "start", "--wait", unit)


def stop_phase(unit: str) -> tuple[str, ...]:
    """Return the command that ends all processes of a phase."""
    return (SYSTEMCTL, "stop", unit)


def parse_show(lines: Iterable[str]) -> list[dict[str, str]]:
    """Return the properties of each unit that `systemctl show` printed, in the order of the output.

    An empty line ends a unit. A property that comes again also begins the next unit, because some readers drop empty
    lines. Repeated commands such as ExecStart= are joined with a line break.
    """
    units: list[dict[str, str]] = []
    is_new = True
    for line in lines:
        name, separator, value = line.partition("=")
        if not separator:
            is_new = True
            continue
        if is_new or (name in units[-1] and not name.startswith(_REPEATED)):
            units.append({})
            is_new = False
        earlier = units[-1].get(name)
        units[-1][name] = value if earlier is None else f"{earlier}\n{value}"
    return units
