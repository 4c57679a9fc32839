"""systemctl: the commands that the worker may run as root, and the reader of its answers."""

from collections.abc import Iterable
from typing import Final, Literal

from hookd.model.app import App

SUDO: Final = "/usr/bin/sudo"
SYSTEMCTL: Final = "/usr/bin/systemctl"
Verb = Literal["start", "stop", "restart"]
# systemd prints one line for each command of a unit, so these come again inside one unit.
_REPEATED: Final = ("ExecStart", "ExecStop", "ExecReload", "ExecCondition")


def sudo_commands(app: App) -> tuple[tuple[str, ...], ...]:
    """Return every argument vector that sudo allows for an app, or none if circus runs it.

    The sudoers files are rendered from this list. A test compares it with the worker's commands.
    """
    if app.service.manager != "systemd":
        return ()
    verbs: tuple[Verb, ...] = ("restart",) if app.service.handover == "restart" else ("start", "stop", "restart")
    return tuple((SYSTEMCTL, verb, f"{name}.service") for name in sorted(app.services) for verb in verbs)


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
