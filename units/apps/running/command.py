"""Runs a person's command as an app: as its user, in its sandbox, with its variables, in the release that serves."""

import os
import secrets
import shlex
import shutil
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.ids import is_release
from hookd.model.settings import AppPaths, Settings
from hookd.model.units.processes import run_units
from hookd.variables import parse
from units.apps.variables import require_plain_variables
from units.render.run import run_properties
from units.system import disk, layout
from units.system.errors import HostError, Refused
from units.system.foreground import run_in_foreground
from units.system.run import run, succeeds
from units.system.systemd import read_properties, read_units

# ExecMainCode=: the process ended by itself (CLD_EXITED of waitid(2)).
_EXITED: Final = 1
# systemd ends a run at its own limit.
_MORE_SECONDS: Final = 120


def prepare_run(app: App, settings: Settings, command: tuple[str, ...], seconds: int) -> tuple[str, ...]:
    """Return the properties of the unit for a command. Raises HostError if the command cannot run."""
    _require_own_units(app)
    require_plain_variables(app)
    _require_text(command)
    release = _serving_release(app, settings)
    properties = run_properties(app, release, seconds)
    _require_program(app, release, command[0], _search_path(app, properties))
    return properties


def run_command(app: App, properties: tuple[str, ...], command: tuple[str, ...]) -> int:
    """Run a command of a person, and return its exit status."""
    # The program is found as the app's user, in the environment of the release.
    return run_in_foreground(_unit(app), properties, ("/bin/sh", str(layout.IN_RELEASE), *command))


def run_timer(app: App, settings: Settings, name: str) -> tuple[int, str]:
    """Run the command of a timer now, and return its exit status and output.

    Raises HostError before the first deployment, and while it runs already, because no second run may start.
    """
    unit = f"{app.name}-{name}.service"
    _serving_release(app, settings)
    if read_units([unit])[unit].active not in ("inactive", "failed"):
        hint = f"sudo hookd logs {app.name} --process {name} --follow"
        raise HostError(f"the timer {name} runs right now", hint=hint)
    try:
        is_well = succeeds(("systemctl", "start", unit), seconds=app.timers[name].seconds + _MORE_SECONDS)
    except KeyboardInterrupt:
        succeeds(("systemctl", "stop", unit))
        raise
    invocation = run(("systemctl", "show", "--property=InvocationID", "--value", unit)).strip()
    output = run(("journalctl", "--quiet", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation}"))
    return (0 if is_well else _status(unit)), output


def _status(unit: str) -> int:
    """Return the exit status of a run that failed, or 128 and the number of the signal that ended it."""
    found = read_properties(unit, "Service", ("ExecMainCode", "ExecMainStatus"))
    status = int(found["ExecMainStatus"])
    return (status if found["ExecMainCode"] == _EXITED else 128 + status) or 1


def _unit(app: App) -> str:
    return run_units(app).replace("*", secrets.token_hex(4))


def _require_own_units(app: App) -> None:
    """Raise HostError if hookd does not know the app's sandbox."""
    current = app.root / "current"
    if not app.uses_systemd:
        hint = f"cd {shlex.quote(str(current))} && venv/bin/COMMAND"
        raise HostError(f"{app.name} is run by {app.service.manager}, not by systemd", hint=hint)
    if app.service.units != "hookd":
        start = ("sudo", "systemd-run", "--pty", f"--uid={app.ownership.user}", f"--working-directory={current}")
        hint = shlex.join((*start, "--", str(current / "venv/bin/COMMAND")))
        raise HostError(f"the units of {app.name} are not hookd's, nor is its sandbox", hint=hint)


def _require_text(command: tuple[str, ...]) -> None:
    """Raise Refused for an argument that systemd does not take."""
    try:
        "".join(command).encode()
    except UnicodeEncodeError:
        raise Refused(["an argument is not UTF-8 text"], hint="hookd run --help") from None


def _serving_release(app: App, settings: Settings) -> Path:
    """Return the release that serves now. Raises HostError before the first deployment."""
    paths = AppPaths(app, settings)
    name = (disk.read_link(paths.current) or Path()).name
    release = paths.release(name)
    if not is_release(name) or disk.status(release) is None:
        raise HostError(f"{app.name} has no release yet", hint=f"sudo hookd deploy {app.name}")
    return release


def _search_path(app: App, properties: tuple[str, ...]) -> str:
    """Return the PATH of a command. A variable of the app's file counts more than one of the unit."""
    lines = (line.removeprefix("Environment=") for line in properties if line.startswith("Environment="))
    unit = dict(word.partition("=")[::2] for line in lines for word in shlex.split(line))
    file = app.service.environment_file
    own = parse((disk.read(file) or b"").decode()) if file else {}
    return {**unit, **own}.get("PATH", os.defpath)


def _require_program(app: App, release: Path, program: str, search_path: str) -> None:
    """Raise HostError for a program that neither the release's environment nor the host has."""
    # A name with a slash is one below the release.
    found = shutil.which(release / program) if "/" in program else shutil.which(program, path=search_path)
    if found is None:
        hint = shlex.join(("ls", str(release / "venv/bin")))
        raise HostError(f"{app.name} has no program {program}", hint=f"sudo {hint}")
