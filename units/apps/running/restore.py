"""Puts a backup of an app back: stops the app, runs the unit of the restore, and starts the app again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.files.backups import RESTORE_OUTPUT, RESTORED, Backup
from hookd.model.app import App
from hookd.model.settings import AppPaths, Settings
from hookd.model.units.backup import restore_unit
from units.apps.running.health import is_healthy_in_time
from units.apps.running.lock import app_lock
from units.apps.running.services import active_services, start, stop
from units.apps.variables import require_plain_variables
from units.changes.apply import Echo
from units.system import disk
from units.system.errors import HostError
from units.system.run import CommandFailed, run, succeeds

# The unit has the same limit.
_SECONDS: Final = 24 * 3600
_OUTPUT_BYTES: Final = 16_384


class RestoreFailed(HostError):
    """The app is stopped or unhealthy after a restore."""


def restore(app: App, settings: Settings, backup: Backup, echo: Echo) -> None:
    """Put a backup back under the app's lock. The app starts again if it ran before.

    Raises HostError while a deployment runs, RestoreFailed and CommandFailed.
    """
    require_plain_variables(app)
    with app_lock(app, settings, "restore"):
        was_running = bool(active_services(app))
        echo(f"{app.name} stops")
        stop(app)
        _put_back(app, backup, echo)
        disk.remove(AppPaths(app, settings).clean_backup)
        echo(f"the backup {backup.release} is back")
        if not was_running:
            echo(f"{app.name} was stopped before, and stays so")
            return
        start(app)
        _check_health(app, echo)


def _put_back(app: App, backup: Backup, echo: Echo) -> None:
    """Let the app's command read a backup, and print its output. Raises RestoreFailed."""
    directory, unit, again = backup.path.parent, restore_unit(app), f"sudo hookd restore {app.name} {backup.release}"
    stays = f"\n  {app.name} stays stopped, because its data may be half restored"
    disk.link(directory / RESTORED, Path(backup.path.name))
    try:
        run(("systemctl", "--quiet", "start", unit), seconds=_SECONDS)
    except CommandFailed as error:
        reason = f": {error.output}" if error.output else ""
        raise RestoreFailed(f"the restore failed{reason}{stays}", hint=again) from None
    except KeyboardInterrupt:
        raise RestoreFailed(f"interrupted{stays}", hint=again) from None
    finally:
        succeeds(("systemctl", "stop", unit))  # After Ctrl-C it would go on.
        for line in _last_lines(directory / RESTORE_OUTPUT):
            echo(f"  {line}")
        disk.remove(directory / RESTORED)
        disk.remove(directory / RESTORE_OUTPUT)


def _last_lines(path: Path) -> list[str]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _OUTPUT_BYTES))
        return file.read(_OUTPUT_BYTES).decode("utf-8", "replace").splitlines()
    return []


def _check_health(app: App, echo: Echo) -> None:
    """Wait for the service that was started. Raises RestoreFailed if it is unhealthy."""
    active = active_services(app)
    unit = active[0] if active else f"{app.service_name}.service"
    colour = unit.removesuffix(".service").rpartition("-")[2] if app.service.handover == "blue-green" else ""
    if not active or not is_healthy_in_time(app, colour):
        raise RestoreFailed(f"{app.name} is unhealthy after the restore", hint=f"journalctl --unit {unit} --lines 50")
    echo(f"{app.name} runs again and is healthy")
