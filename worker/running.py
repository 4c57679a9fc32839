"""Sees from the outside what an app's services really run: asks their process manager, and changes nothing.

Under circus the directory of a process can be read. A systemd unit with hookd's `gunicorn.conf.py` says itself which
release it was started in; of any other it is known when it started.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd.contract.catalogue import App
from hookd.contract.journal import AppState
from hookd.contract.places import Places
from worker import commands
from worker.commands import Command
from worker.errors import CommandFailed
from worker.faults import Link, Running, Seen, Unit, Wanted, guard_of, judge
from worker.links import pointed_at

# Runs a command and returns the lines that it printed; raises CommandFailed.
Ask = Callable[[Command], list[str]]

_STATUS: Final = re.compile(r"release (/.+)")
_STARTED: Final = re.compile(r"\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def look(app: App, state: AppState, places: Places, ask: Ask) -> Running:
    """Compare what runs with what the journal says serves."""
    serving = state.deployed
    if serving is None:
        return Running("nothing was deployed yet")
    if not state.verified or (app.service.handover == "blue-green") != (state.colour is not None):
        return Running("the next deployment decides what runs")
    wanted = Wanted(serving.name, os.path.realpath(places.release(serving.name)), state.colour)
    try:
        return judge(app, wanted, Seen(_units(app, ask), _links(app, places)))
    except CommandFailed as error:
        return Running(f"{app.service.manager} does not say what runs: {error.cause}")


def _units(app: App, ask: Ask) -> dict[str, Unit]:
    if app.service.manager == "circus":
        return {name: _watcher(app, name, ask) for name in sorted(app.services)}
    names = {*app.services, *filter(None, (guard_of(app),))}
    units = sorted(name if name.endswith(".socket") else f"{name}.service" for name in names)
    found = read_units(ask(commands.standing(tuple(units), app.limits)))
    return {name.removesuffix(".service"): unit for name, unit in found.items()}


def read_units(lines: Iterable[str]) -> dict[str, Unit]:
    """Read what `systemctl show` printed of several units: a property that comes again belongs to the next one."""
    blocks: list[dict[str, str]] = []
    for name, _, value in (line.partition("=") for line in lines):
        if not blocks or name in blocks[-1]:
            blocks.append({})
        blocks[-1][name] = value
    return {block["Id"]: _unit(block) for block in blocks if "Id" in block}


def _unit(block: Mapping[str, str]) -> Unit:
    if block.get("LoadState") == "not-found":
        return Unit()
    said = _STATUS.fullmatch(block.get("StatusText", ""))
    started = _STARTED.fullmatch(block.get("ExecMainStartTimestamp", ""))
    return Unit(
        block.get("ActiveState", "missing"), _seconds(started[1]) if started else None, said[1] if said else None
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _watcher(app: App, name: str, ask: Ask) -> Unit:
    """A watcher of circus; one whose process ends again and again has none at times."""
    if ask(commands.known(app.service, name, app.limits))[-1:] != ["active"]:
        return Unit("inactive")
    pids = ",".join(ask(commands.processes(app.service, name, app.limits))).split(",")
    return Unit("active", directory=_directory(pids[0]))


def _directory(pid: str) -> str | None:
    """The working directory of a process of this user."""
    try:
        return os.readlink(f"/proc/{int(pid)}/cwd")
    except (OSError, ValueError):
        return None


def _links(app: App, places: Places) -> dict[str, Link]:
    paths: list[Path] = [places.current]
    if app.service.handover == "blue-green":
        paths += [places.colour("blue"), places.colour("green")]
    return {path.name: Link(os.path.realpath(path), pointed_at(path)) for path in paths if path.is_symlink()}
