"""Find out if a signal ended or suspended the processes of a service. What they did then proves nothing about a commit.

Any process of the same user can send one, and the kernel does if memory runs out. Nobody can tell who sent it, so an
app that kills itself looks the same.
"""

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from hookd.model.app import App
from worker.errors import CommandFailed
from worker.process.systemctl import killing_signal, number, show_unit
from worker.service.manager import read_service_state

# gunicorn wakes up each second, also while its app hangs.
_IDLE_SECONDS: Final = 3.0
_PROPERTIES: Final = "MainPID,Result,ExecMainCode,ExecMainStatus,StatusErrno"
# ExecMainCode= and ExecMainStatus=: the process ended by itself (CLD_EXITED of waitid(2)), with status 0.
_ENDED_WELL: Final = ("1", "0")
# systemd itself ends a process that is not ready in time, or whose watchdog is silent.
_SYSTEMDS_OWN: Final = ("timeout", "watchdog")


def find_disturbance(app: App, name: str, *, is_silent: bool) -> str | None:
    """Return how the processes of a service that has just failed were disturbed, or None.

    `is_silent` means that the service did not answer. circus does not tell how a process ended. systemd tells it until
    the next start, so the unit needs a RestartSec= of a second.
    """
    if not app.uses_systemd:
        return None
    try:
        found = read_disturbance(show_unit(f"{name}.service", _PROPERTIES), is_gunicorn=_has_gunicorn(app))
        if found is None and is_silent and is_suspended(app, name):
            return "was suspended"
    except CommandFailed:
        return None
    return found


def _has_gunicorn(app: App) -> bool:
    """Return True if the app's service is gunicorn with hookd's configuration."""
    service = app.service
    return service.command is None and (service.units == "hookd" or service.listen is not None)


def read_disturbance(unit: Mapping[str, str], *, is_gunicorn: bool) -> str | None:
    """Return the disturbance that the properties of a unit show, or None.

    `is_gunicorn` means that hookd's configuration of gunicorn is in use: it is ready before it loads the app, ends with
    status 0 only after a signal, and reports a lost worker as an errno (units/in_app).
    """
    result, has_ended = unit.get("Result", ""), unit.get("MainPID") == "0"
    if result == "oom-kill":
        return "was killed for lack of memory"
    if result in _SYSTEMDS_OWN:
        return "was not ready in time" if is_gunicorn and result == "timeout" else None
    if has_ended and (killed_by := killing_signal(unit)):
        return f"was killed by {_signal_name(killed_by)}"
    if is_gunicorn and has_ended and (unit.get("ExecMainCode"), unit.get("ExecMainStatus")) == _ENDED_WELL:
        return "was told to end by a signal"
    if is_gunicorn and number(unit, "StatusErrno"):
        return "lost a worker process to a signal"
    return None


def _signal_name(value: int) -> str:
    with suppress(ValueError):
        return signal.Signals(value).name
    return f"signal {value}"


def is_suspended(app: App, name: str) -> bool:
    """Return True if the processes of a running gunicorn use no processor time. Raises CommandFailed.

    Another server that waits for its database may use none, either.
    """
    before = read_service_state(app, name)
    if not _has_gunicorn(app) or not before.is_up or before.processor_time is None:
        return False
    time.sleep(_IDLE_SECONDS)
    return read_service_state(app, name) == before
