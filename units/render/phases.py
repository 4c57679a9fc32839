"""Renders the units of an app's phases, in which the code of a push runs, and their places below /run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hookd.model.app import App
from hookd.model.units.phases import (
    Phase,
    build_commands_file,
    build_user,
    check_command,
    in_use_file,
    in_use_unit,
    output_pipe,
    phase_unit,
    phases_of,
)
from units.changes.change import File
from units.render.backup import backup_units
from units.render.templates import render
from units.system import layout

_ABOUT: Final[Mapping[Phase, str]] = {
    "check": "try if a release starts",
    "release": "release commands, before the switch",
}
# A build sees none of these but what is its own.
_HIDDEN: Final = (Path("/srv"), Path("/var/lib"), Path("/var/log"), layout.BUILD_CACHE, layout.APP_HOMES)
# Directories that hold parts of the system or of hookd, besides apps.
_NEEDED: Final = frozenset(map(Path, ("/", "/opt", "/usr", "/var", "/etc", "/run", "/home", "/root")))


def phase_files(app: App, sandbox: Mapping[str, object]) -> tuple[File, ...]:
    """Render the units of an app's phases. `sandbox` holds the values of the service's sandbox."""
    phases = phases_of(app)
    if not phases:
        return ()
    values = {
        "app": app,
        "home": app.root / "next",
        "pipe": output_pipe(app),
        "build_commands": build_commands_file(app),
        "builder": build_user(app),
        "seconds": app.job_seconds,
        **sandbox,
    }
    others = [_unit(app, phase, values) for phase in phases if phase in _ABOUT]
    places = File(layout.tmpfiles(app.name), render("app/tmpfiles.conf", **values))
    backups = backup_units(app, values) if "backup" in phases else ()
    text = render("app/in-use.service", app=app, file=in_use_file(app))
    in_use = File(layout.SYSTEMD / in_use_unit(app), text)
    return (places, _build_unit(app, values), *others, *backups, in_use)


def _build_unit(app: App, values: Mapping[str, Any]) -> File:
    parent = app.root.parent
    outer = () if parent in _NEEDED or parent in layout.CODE.parents else (parent,)
    hidden = dict.fromkeys((*_HIDDEN, *outer))
    text = render("app/build.service", **values, **_shared_values(app), hidden=hidden)
    return File(layout.SYSTEMD / phase_unit(app, "build"), text)


def _shared_values(app: App) -> dict[str, tuple[Path, ...]]:
    """Return what of the shared files is hidden from a build.

    Their directory is closed, unless the releases or the data lie in it. Then each file is an empty one.
    """
    is_closed = not any(path.is_relative_to(app.shared_root) for path in (app.root, app.data_root))
    files = tuple(app.shared_root / name for name in app.shared.files)
    return {"closed": (app.shared_root,) if is_closed else (), "empty": () if is_closed else files}


def _unit(app: App, phase: Phase, values: Mapping[str, Any]) -> File:
    commands = app.release.commands if phase == "release" else (check_command(app, layout.IN_APP),)
    text = render("app/phase.service", **values, phase=phase, about=_ABOUT[phase], commands=commands)
    return File(layout.SYSTEMD / phase_unit(app, phase), text)
