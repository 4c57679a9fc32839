"""The backup before the release commands. On a server its unit makes it as root and the app's user (`unit`)."""

import os
import sys
from pathlib import Path
from typing import Final

from hookd.files.backups import NEW, BackupRefused, DiskFull, clean_backup, discard, keep_backup
from hookd.model.hint import Hint, HintKind
from hookd.model.units.backup import backup_command, backup_kind, backup_label
from worker.context import Task
from worker.errors import CommandFailed
from worker.phase.environment import command_environment
from worker.phase.phases import explained, start_unit
from worker.process.run import Command, run

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def run_backup(task: Task, release: Path) -> None:
    """Make a backup and keep it under a release's name. Raises CommandFailed, and ServiceMissing without the unit."""
    if task.app.uses_systemd:
        seconds = task.app.release.seconds
        start_unit(task, "backup", release, [(backup_label(task.app),)], total=seconds, silence=seconds)
        return
    with explained(task, "backup"):
        _back_up(task, release)


def _back_up(task: Task, release: Path) -> None:
    """Make the backup as this user. Raises CommandFailed."""
    task.recorder.line(f"$ {backup_label(task.app)}")
    seconds, argv = task.app.release.seconds, backup_command(task.app, sys.executable)
    cwd, env = task.app.directory_in(release), command_environment(task, "backup", release)
    command = Command(argv, seconds, seconds, cwd, env)
    try:
        _keep_output(task, command, release.name)
    except DiskFull as error:
        raise CommandFailed(str(error), hint=Hint(HintKind.SHOW_DISK_SPACE, str(task.paths.backups))) from None
    except (BackupRefused, OSError) as error:
        raise CommandFailed(str(error)) from None


def _keep_output(task: Task, command: Command, release: str) -> None:
    """Keep what a command prints as this user's own file. Raises CommandFailed, BackupRefused and OSError."""
    directory = task.paths.backups
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(directory / NEW, _NEW_FILE, 0o600), "wb") as new:
            run(command, task.recorder.line, result=new)
        number, clean = task.app.limits.keep_releases, clean_backup(task.paths.root)
        keep_backup(directory, release, backup_kind(task.app), number, clean)
    finally:
        discard(directory)
