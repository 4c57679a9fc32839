"""The tables `processes` and `timers` of an app: what runs beside its web process, and the names of the units.

An app named `shop` has the units `shop-worker@1.service`, or `shop-worker-blue@1.service` with two colours, and
`shop-cleanup.timer` with `shop-cleanup.service`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from hookd.model.fields import Argv, Section, matching

if TYPE_CHECKING:
    from hookd.model.app import App

# Ends of the names of an app's other units.
_RESERVED: Final = "backup|blue|build|check|dump|green|health|in-use|interim|release|restore|run|trial|web"
# One that is none of an app's other units.
PROCESS_NAME: Final = rf"(?!(?:{_RESERVED})$)[a-z][a-z0-9]*(?:-[a-z0-9]+)*"

ProcessName = Annotated[
    str, Field(max_length=32), matching(PROCESS_NAME, "a name such as worker, which is none of hookd's own units")
]
Schedule = Annotated[
    str, Field(max_length=100), matching(r"[A-Za-z0-9*/,.:~ _+-]*[A-Za-z0-9*]", "a calendar time such as *-*-* 03:15")
]


class Process(Section):
    """A process that runs all the time, such as a queue's worker."""

    command: Argv = Field(..., description="Its command, such as `rq`, `worker`, `shop`.")
    count: int = Field(1, ge=1, le=32, description="Processes of this kind.")
    stop_seconds: int = Field(60, ge=1, le=3600, description="Time after SIGTERM to finish the running job.")
    overlap: bool = Field(
        False, description="blue-green only: new ones start before old ones stop. Not for schedulers."
    )


class Timer(Section):
    """A command that runs at set times."""

    command: Argv = Field(..., description="Its command, such as `flask`, `cleanup`.")
    schedule: Schedule = Field(..., description="systemd's calendar time, such as `*-*-* 03:15`.")
    overlap: Literal["skip"] = Field("skip", description="No second run starts while one is not over.")
    seconds: int = Field(3600, gt=0, le=86_400, description="Longest run.")


def expected_processes(app: "App") -> str | None:
    """Return what is wanted in place of an app's processes and timers, or None if they are well."""
    if not app.uses_systemd and (app.processes or app.timers):
        return "processes and timers only with systemd; name circus's in service.restart_also"
    if both := sorted(app.processes.keys() & app.timers.keys()):
        return f"different names for processes and timers: {', '.join(both)}"
    overlapping = sorted(name for name, process in app.processes.items() if process.overlap)
    return f"processes.{overlapping[0]}.overlap only with blue-green" if overlapping and not app.colours else None


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


def stop_seconds(app: "App") -> int:
    """Return the longest time that the end of an app's processes takes."""
    return max((process.stop_seconds for process in app.processes.values()), default=0)


def process_patterns(app: "App") -> tuple[str, ...]:
    """Return patterns for the units of all processes, whatever their number was earlier."""
    templates = dict.fromkeys(map(template_of, all_processes(app)))
    return tuple(template.replace("@.", "@*.") for template in templates)


def run_units(app: "App") -> str:
    """Return the pattern of the units in which people run commands. No app's name has the sign behind it."""
    return f"hookd-run-{app.name}@*.service"
