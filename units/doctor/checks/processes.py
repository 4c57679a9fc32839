"""Processes and timers of apps: they run, their last run was well, and no process works in an old release."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hookd.files.in_use import release_users
from hookd.model.app import App
from hookd.model.units.processes import processes_of
from units.doctor.checks.services import check_unit
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, warning

_SETUP: Final = "sudo hookd setup"
# Commands of people and sessions of users, which end by themselves.
_ENDING: Final = ("hookd-run-", "user@", "session-")
_UNIT: Final = re.compile(r"/([^/]+\.(?:service|scope))(?:/|$)")


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check the app's processes and timers, and the processes in its old releases."""
    state = context.app_state(app)
    if state.current is None or not context.unit(f"{app.service_of(state.colour)}.service").is_up:
        return  # Another check says so.
    for unit in processes_of(app, state.colour):
        yield from check_unit(context.unit(unit), _SETUP, is_enabled=not app.colours)
    for name in app.timers:
        yield from check_unit(context.unit(f"{app.name}-{name}.timer"), _SETUP)
        run = context.unit(f"{app.name}-{name}.service")
        if run.active == "failed":
            yield error(f"the timer {name} failed ({run.result})", f"sudo hookd logs {app.name} --process {name}")
    if context.is_root:
        yield from _old_users(app, state.current)


def _old_users(app: App, current: str) -> Iterator[Finding]:
    """Report processes that work in another release than the one that serves, whoever started them."""
    for release, processes in sorted(release_users(str(app.root)).items()):
        if release != current:
            for unit in sorted({_unit_of(process) for process in processes}):
                what = unit or f"process {processes[0]}"
                is_service = unit.endswith(".service") and not unit.startswith(_ENDING)
                hint = f"sudo systemctl restart {unit}" if is_service else f"ps -fp {processes[0]}"
                yield warning(f"{what} works in {release}, which does not serve", hint)


def _unit_of(process: int) -> str:
    """Return the unit of a process, or ""."""
    try:
        found = _UNIT.findall(Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[-1] if found else ""
