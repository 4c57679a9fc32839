"""The phases of a deployment in which the app's own code runs: their units, commands and places on a server.

`build` makes a release, `check` tries to start it, `backup` and `release` come last before the switch.
"""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from hookd.model.units.backup import dump_unit, restore_unit

if TYPE_CHECKING:  # `./run install` reads the paths before the packages are there.
    from hookd.model.app import App

Phase = Literal["build", "check", "backup", "release"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)

# The group of the users of all builds, and the start of their names.
BUILDERS: Final = "hookd-build"
# Of a user, useradd(8).
_NAME_LENGTH: Final = 32
# The program that starts and checks an app's gunicorn, in the app's own environment.
IN_APP: Final = Path(__file__).parents[3] / "units" / "in_app"
# One directory per app, for the caches of its builds.
BUILD_CACHE: Final = Path("/var/cache/hookd-build")
# Pythons for apps beside the system's, which root installs with uv.
MANAGED_PYTHONS: Final = Path("/opt/hookd/python")
# Pipes from the units of the phases to the worker, and the commands of builds. Only root creates files here.
PHASE_PIPES: Final = Path("/run/hookd-phases")


def phases_of(app: "App") -> tuple[Phase, ...]:
    """Return the phases that run in a unit of their own, in the order of a deployment."""
    if not app.uses_systemd:
        return ()
    check: tuple[Phase, ...] = ("check",) if check_command(app) else ()
    backup: tuple[Phase, ...] = ("backup",) if app.release.backup else ()
    release: tuple[Phase, ...] = ("release",) if app.release.commands else ()
    return ("build", *check, *backup, *release)


def build_user(app: "App") -> str:
    """Return the user of an app's builds, or "" without systemd, where they have the worker's.

    No other builds have it, because signals and limits go by the user alone.
    """
    if not app.uses_systemd:
        return ""
    name = f"{BUILDERS}-{app.name}"
    if len(name) <= _NAME_LENGTH:
        return name
    ending = f"-{sha256(app.name.encode()).hexdigest()[:6]}"
    return name[: _NAME_LENGTH - len(ending)] + ending


def phase_unit(app: "App", phase: Phase) -> str:
    """Return the unit of a phase."""
    return f"{app.name}-{phase}.service"


def in_use_unit(app: "App") -> str:
    """Return the unit that lists the releases in use."""
    return f"{app.name}-in-use.service"


def in_use_file(app: "App") -> Path:
    """Return the file with that list."""
    return PHASE_PIPES / f"{app.name}.in-use"


def units_of_phases(app: "App") -> tuple[str, ...]:
    """Return the units of an app's phases, of its backup's command and way back, and of the list of used releases."""
    phases = phases_of(app)
    backup = (dump_unit(app), restore_unit(app)) if "backup" in phases else ()
    return (*(phase_unit(app, phase) for phase in phases), *backup, *((in_use_unit(app),) if phases else ()))


def possible_units_of_phases(app: "App") -> tuple[str, ...]:
    """Return every unit that an app of this name can have for its phases."""
    return (*(phase_unit(app, phase) for phase in PHASES), dump_unit(app), restore_unit(app), in_use_unit(app))


def output_pipe(app: "App") -> Path:
    """Return the pipe through which the units of an app's phases print."""
    return PHASE_PIPES / app.name


def build_commands_file(app: "App") -> Path:
    """Return the file from which an app's build reads its commands."""
    return PHASE_PIPES / f"{app.name}.plan"


def check_command(app: "App", program: Path = IN_APP) -> tuple[str, ...]:
    """Return the command that checks if a release starts, or () if the app has none.

    `program` is the one that starts the app's gunicorn.
    """
    if app.service.preflight is not None or app.service.command:
        return app.service.preflight or ()
    return ("python", str(program), "--check", *app.service.gunicorn_options, app.service.entry)
