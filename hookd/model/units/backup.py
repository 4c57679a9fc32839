"""The backup before an app's release commands: its kind, its commands, its units and its place on a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:  # `./run install` reads the paths before the packages are there.
    from hookd.model.app import App

# Copies of SQLite files, or the output of the app's own command.
BackupKind = Literal["sqlite", "command"]
# One directory per app. Only root opens it.
BACKUPS: Final = Path("/var/lib/hookd-backups")
# A link in the app's directory to the backup from before release commands that have not ended well, by its name alone.
CLEAN: Final = "clean-backup"


def backup_kind(app: "App") -> BackupKind:
    """Return the kind of an app's backups."""
    return "sqlite" if app.release.backup == "sqlite" else "command"


def dump_unit(app: "App") -> str:
    """Return the unit of the backup's command. The unit of the phase `backup` is root's part."""
    return f"{app.name}-dump.service"


def restore_unit(app: "App") -> str:
    """Return the unit that puts a backup back. Only root starts it."""
    return f"{app.name}-restore.service"


def backup_command(app: "App", python: str) -> tuple[str, ...]:
    """Return the command that prints a backup, or (). `python` is hookd's own."""
    if app.release.backup == "sqlite":
        return _sqlite_command(app, python, "save")
    return app.release.backup or ()


def restore_command(app: "App", python: str) -> tuple[str, ...]:
    """Return the command that reads a backup, or ()."""
    if app.release.backup == "sqlite":
        return _sqlite_command(app, python, "load")
    return app.release.restore or ()


def _sqlite_command(app: "App", python: str, verb: Literal["save", "load"]) -> tuple[str, ...]:
    directories = (str(app.data_root / name) for name in app.shared.directories)
    return (python, "-I", "-m", "hookd.files.sqlite_copies", verb, *directories)


def backup_label(app: "App") -> str:
    """Return the backup's command in words for a log."""
    return "sqlite backup" if app.release.backup == "sqlite" else " ".join(app.release.backup or ())
