"""systemctl as the worker calls it: commands by sudo, the properties of units, and the signal that ended a process."""

import signal
from collections.abc import Mapping, Sequence
from typing import Final

from hookd.model.units.systemctl import SUDO, SYSTEMCTL, GroupVerb, Verb, parse_show
from worker.process.run import SYSTEM_PATH, Command, lines_of

# systemctl itself waits 25 s for an answer of systemd.
_ANSWER_SECONDS: Final = 30.0
# ExecMainCode=, the CLD_ codes of sigaction(2): killed, and killed with a core dump.
_SIGNALLED: Final = ("2", "3")
# Signals that a faulty program brings on itself. All others come from outside.
OWN_SIGNALS: Final = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)


def sudo_command(argv: tuple[str, ...], total: float, silence: float) -> Command:
    """Return a call of systemctl by sudo, with its limits in seconds."""
    return Command((SUDO, "-n", *argv), total, silence, env={"PATH": SYSTEM_PATH})


def control_command(verb: Verb, name: str, total: float, silence: float) -> Command:
    """Start, stop or restart a service and wait for it."""
    return sudo_command((SYSTEMCTL, verb, f"{name}.service"), total, silence)


def group_command(verb: GroupVerb, units: Sequence[str], seconds: float) -> Command:
    """Start, stop or reset all units of a group at once, and wait for them. `seconds` is the limit."""
    return sudo_command((SYSTEMCTL, verb, *units), seconds, seconds)


def show_command(properties: str, *units: str) -> Command:
    """Print properties of units. Needs no privilege, as `cat_command`."""
    return _question("show", "--timestamp=us+utc", f"--property={properties}", "--", *units)


def cat_command(unit: str) -> Command:
    """Print the file of a unit, or fail if there is none."""
    return _question("cat", unit)


def _question(*arguments: str) -> Command:
    return Command((SYSTEMCTL, *arguments), _ANSWER_SECONDS, _ANSWER_SECONDS, env={"PATH": SYSTEM_PATH})


def show_unit(unit: str, properties: str) -> dict[str, str]:
    """Return properties of a unit. Raises CommandFailed."""
    return next(iter(parse_show(lines_of(show_command(properties, unit)))), {})


def killing_signal(unit: Mapping[str, str]) -> int | None:
    """Return the signal that killed the last main process of a unit, or None for another end."""
    return number(unit, "ExecMainStatus") if unit.get("ExecMainCode") in _SIGNALLED else None


def number(unit: Mapping[str, str], name: str) -> int:
    """Return a property as a number. Other values read as 0."""
    text = unit.get(name, "")
    return int(text) if text.isdecimal() else 0
