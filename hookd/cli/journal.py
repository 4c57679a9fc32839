"""The journal of an app's own services, processes and timers: `hookd logs APP --process NAME`."""

import grp
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NoReturn

from hookd.cli.common import fail, sudo_command
from hookd.model.app import App

# The name of the app's web process beside those of its own.
WEB: Final = "web"
_READERS: Final = ("systemd-journal", "adm", "wheel")
_LINES: Final = 200
_JOURNALCTL: Final = "/usr/bin/journalctl"


def show_journal(app: App, name: str, *, follow: bool) -> NoReturn:
    """Become journalctl with the last lines of a process or timer. End the command for an unknown one."""
    known = (WEB, *app.processes, *app.timers)
    if name not in known:
        fail(f"{app.name} has no process {name!r}, there are: {', '.join(known)}", hint=f"hookd status {app.name}")
    if not app.uses_systemd:
        fail(f"circus runs {app.name}, and keeps no journal", hint=f"circusctl --endpoint {app.service.endpoint} stats")
    if not _may_read():
        fail("only root can read the journal", hint=sudo_command())
    units = (f"--unit={unit}" for unit in _units(app, name))
    options = ("--follow",) if follow else ()
    os.execv(_JOURNALCTL, (_JOURNALCTL, "--no-pager", f"--lines={_LINES}", "--quiet", *options, *units))


def _units(app: App, name: str) -> Iterator[str]:
    if name == WEB:
        yield from (f"{service}.service" for service in sorted(app.services))
    elif name in app.timers:
        yield f"{app.name}-{name}.service"
    else:
        yield from (f"{app.name}-{name}{end}@*.service" for end in ("", *(f"-{colour}" for colour in app.colours)))


def _may_read() -> bool:
    if os.geteuid() == 0:
        return True
    mine = {os.getegid(), *os.getgroups()}
    for name in _READERS:
        with suppress(KeyError):
            if grp.getgrnam(name).gr_gid in mine:
                return True
    return False
