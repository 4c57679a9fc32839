"""The tables `processes` and `timers` of an app: what runs beside its web process."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from hookd.model.tables.fields import Argv, Section, matching

if TYPE_CHECKING:
    from hookd.model.app import App

# Ends of the names of an app's other units.
_RESERVED: Final = "backup|blue|build|check|dump|green|health|in-use|interim|release|restore|run|trial|web"
# One that is none of an app's other units.
PROCESS_NAME: Final = rf"(?!(?:{_RESERVED})$)[a-z][a-z0-9]*(?:-[a-z0-9]+)*"

ProcessName = Annotated[
    str, Field(max_length=32), matching(PROCESS_NAME, "a name such as worker, which is none of hookd's own units")
]
_Schedule = Annotated[
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
    schedule: _Schedule = Field(..., description="systemd's calendar time, such as `*-*-* 03:15`.")
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


def stop_seconds(app: "App") -> int:
    """Return the longest time that the end of an app's processes takes."""
    return max((process.stop_seconds for process in app.processes.values()), default=0)
