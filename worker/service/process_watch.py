"""Watch the processes beside the web process after their start: do they stay up, and if not, whose doing is it?"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from hookd.model.hint import Hint, HintKind
from hookd.model.units.systemctl import parse_show
from worker.errors import ProcessFailed, ProcessKilled
from worker.process.run import lines_of
from worker.process.systemctl import OWN_SIGNALS, killing_signal, show_command

_PROPERTIES: Final = "Id,ActiveState,MainPID,NRestarts,Result,ExecMainCode,ExecMainStatus"
# Shorter than RestartSec= of hookd's units, because systemd forgets at the next start how a process ended.
_PAUSE_SECONDS: Final = 0.25


def wait_until_steady(units: Sequence[str], seconds: float) -> None:
    """Watch processes for some seconds. One that a person stops or restarts meanwhile is no failure.

    Raises ProcessFailed if one ends by itself, and ProcessKilled if a signal ends it.
    """
    end, first = time.monotonic() + seconds, states(units)
    while True:
        now = states(units)
        for unit in units:
            if _has_ended(first[unit], now[unit]):
                raise _ending(unit, now[unit])
        if time.monotonic() >= end:
            return
        time.sleep(_PAUSE_SECONDS)


def _has_ended(first: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return True unless the process runs, or a person stopped it. systemd counts its own restarts alone."""
    if now.get("ActiveState") == "active":
        return int(now.get("NRestarts", "0")) > int(first.get("NRestarts", "0"))
    return (now.get("ActiveState"), now.get("Result")) not in (("inactive", "success"), ("deactivating", "success"))


def _ending(unit: str, found: Mapping[str, str]) -> ProcessFailed:
    hint, signal = Hint(HintKind.SHOW_UNIT_LOG, unit), killing_signal(found)
    if found.get("Result") == "oom-kill":
        return ProcessKilled(f"{unit} was killed for lack of memory", hint=hint)
    if signal and signal not in OWN_SIGNALS:
        return ProcessKilled(f"{unit} was killed by signal {signal}", hint=hint)
    return ProcessFailed(f"{unit} ended by itself", hint=hint)


def failure_of(units: Sequence[str], cause: str) -> ProcessFailed:
    """Return the error of units that could not be started, with the one at fault."""
    for unit, found in states(units).items():
        if found.get("ActiveState") != "active":
            how = found.get("Result", "")
            return ProcessFailed(f"{unit} cannot start ({how})", hint=Hint(HintKind.SHOW_UNIT_LOG, unit))
    return ProcessFailed(cause, hint=Hint(HintKind.SHOW_LOG))


def states(units: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return properties of units, in the order of the question. Raises CommandFailed."""
    shown = parse_show(lines_of(show_command(_PROPERTIES, *units)))
    return dict(zip(units, shown, strict=True))
