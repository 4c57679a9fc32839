"""The units of what an app runs beside its web process.

An app named `shop` has the units `shop-worker@1.service`, or `shop-worker-blue@1.service` with two colours, and
`shop-cleanup.timer` with `shop-cleanup.service`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookd.model.app import App


def process_instances(app: "App", name: str, colour: str | None) -> tuple[str, ...]:
    """Return the units of a process, of one colour or without colours."""
    kind = f"{app.name}-{name}-{colour}" if colour else f"{app.name}-{name}"
    return tuple(f"{kind}@{number}.service" for number in range(1, app.processes[name].count + 1))


def processes_of(app: "App", colour: str | None, *, overlap: bool | None = None) -> tuple[str, ...]:
    """Return the units of all processes of a colour. `overlap` limits them to those with this value of the key.

    An app with colours has none before one of them serves.
    """
    if app.colours and colour is None:
        return ()
    names = (name for name, process in app.processes.items() if overlap in (None, process.overlap))
    return tuple(unit for name in names for unit in process_instances(app, name, colour))


def process_groups(app: "App", colour: str | None) -> Iterator[tuple[str, ...]]:
    """Return the units that start and stop together: those without an overlap, and those with one."""
    for overlap in (False, True):
        if units := processes_of(app, colour, overlap=overlap):
            yield units


def all_processes(app: "App") -> tuple[str, ...]:
    """Return the units of all processes, of both colours."""
    return tuple(unit for colour in app.colours or (None,) for unit in processes_of(app, colour))


def template_of(unit: str) -> str:
    """Return the file of a unit: `shop-worker@.service` for `shop-worker@1.service`."""
    kind, at, _ = unit.partition("@")
    return f"{kind}@.service" if at else unit


def units_beside(app: "App") -> tuple[str, ...]:
    """Return the files of the units of an app's processes and timers."""
    files = dict.fromkeys(map(template_of, all_processes(app)))
    return (*files, *timer_units(app), *timed_units(app))


def timer_units(app: "App") -> tuple[str, ...]:
    """Return the timers of an app."""
    return tuple(f"{app.name}-{name}.timer" for name in app.timers)


def timed_units(app: "App") -> tuple[str, ...]:
    """Return the units that an app's timers start."""
    return tuple(f"{app.name}-{name}.service" for name in app.timers)


def process_patterns(app: "App") -> tuple[str, ...]:
    """Return patterns for the units of all processes, whatever their number was earlier."""
    templates = dict.fromkeys(map(template_of, all_processes(app)))
    return tuple(template.replace("@.", "@*.") for template in templates)


def run_units(app: "App") -> str:
    """Return the pattern of the units in which people run commands. No app's name has the sign behind it."""
    return f"hookd-run-{app.name}@*.service"
