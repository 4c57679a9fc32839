"""Renders the units of an app's backup and of its way back."""

from collections.abc import Mapping
from typing import Any

from hookd.files.backups import NEW, RESTORE_OUTPUT, RESTORED
from hookd.model.app import App
from hookd.model.units.backup import backup_command, backup_kind, backup_label, dump_unit, restore_command, restore_unit
from hookd.model.units.phases import phase_unit
from units.changes.change import File
from units.render.templates import render
from units.system import layout


def backup_units(app: App, values: Mapping[str, Any]) -> tuple[File, ...]:
    """Render root's part of a backup, its command, and the restore. `values` are those of the phases.

    systemd gives the variables of a unit to all its commands, also to root's, and a variable can name a library. So
    root's part has a unit without variables.
    """
    directory, python = layout.BACKUPS / app.name, str(layout.PYTHON)
    backup, dump = phase_unit(app, "backup"), dump_unit(app)
    own: dict[str, dict[str, Any]] = {
        backup: {"directory": directory, "kind": backup_kind(app), "label": backup_label(app)},
        dump: {"command": backup_command(app, python), "new": directory / NEW},
        restore_unit(app): {
            "command": restore_command(app, python),
            "home": app.root / "current",
            "restored": directory / RESTORED,
            "output": directory / RESTORE_OUTPUT,
        },
    }
    templates = ("app/backup.service", "app/dump.service", "app/restore.service")
    return tuple(
        File(layout.SYSTEMD / unit, render(template, **{**values, "backup": backup, "dump": dump, **more}))
        for template, (unit, more) in zip(templates, own.items(), strict=True)
    )
