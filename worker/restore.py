"""Puts a backup of an app back that circus runs: `python -P -m worker.restore APP RELEASE PERSON`.

`hookd restore` starts it in its place. On a server root does this with systemd's units.
"""

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from hookd.config import Config
from hookd.credentials import PasswordUnreadable, redis_user
from hookd.files.backups import Backup, list_backups
from hookd.model.decision import Decision, Verdict
from hookd.model.ids import new_deployment_id
from hookd.model.text import printable
from hookd.model.units.backup import restore_command
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import receiver_client
from hookd.queue.published import append_decision
from worker.context import AppTask, load_app
from worker.errors import AppLocked, DeployError, Unhealthy
from worker.phase.environment import release_environment
from worker.process.lock import app_lock
from worker.process.run import Command, run
from worker.report.log import StepLog
from worker.service import circus
from worker.service.manager import control, verify_health
from worker.variables import service_variables

# A person waits, and may press Ctrl-C.
_SECONDS: Final = 24 * 3600.0
_STAYS: Final = "\n  {name} may be stopped, and its data half restored"


class _Terminal:
    """A log whose lines are printed."""

    def line(self, _step: str, text: str) -> None:
        sys.stdout.write(f"{self.clean(text)}\n")
        sys.stdout.flush()

    def clean(self, text: str) -> str:
        return printable(text, keep="\t")


def main(name: str, release: str, person: str) -> int:
    """Put a backup back and return the exit status."""
    again = f"hookd restore {name} {release}"
    try:
        app, config = load_app(name)
        require_owner(config)
    except DeployError as error:
        return _fail(error.cause, "hookd status")
    except WrongUser as error:
        return _fail(error.cause, error.hint)
    log = StepLog(new_deployment_id(name, datetime.now(UTC)), _Terminal())
    task = AppTask(app=app, settings=config.settings, recorder=log)
    try:
        with app_lock(task.paths.lock, "restore", 0):
            _restore(task, release)
    except AppLocked:
        return _fail(f"a deployment of {name} runs", f"hookd logs {name} --follow")
    except (DeployError, OSError) as error:
        return _fail(f"the restore failed: {error}{_STAYS.format(name=name)}", again)
    except Unhealthy as error:
        return _fail(f"{name} is unhealthy after the restore: {error}", f"hookd status {name}")
    except KeyboardInterrupt:
        return _fail(f"interrupted{_STAYS.format(name=name)}", again)
    _log_decision(config, name, f"{person} restored the backup {release}")
    return 0


def _restore(task: AppTask, release: str) -> None:
    """Stop the service, run the restore, and start the service if it ran before. Raises DeployError and Unhealthy."""
    backup = next((backup for backup in list_backups(task.paths.backups) if backup.release == release), None)
    if backup is None:
        raise DeployError(f"there is no backup {release}")
    state = task.journal.state()
    service = task.app.service_of(state.colour)
    was_running = state.deployed is not None and circus.watcher_state(task.app, service).is_up
    if was_running:
        control(task, "stop", service)
    _put_back(task, backup)
    task.paths.clean_backup.unlink(missing_ok=True)
    task.recorder.line(f"the backup {backup.release} is back")
    if was_running:
        control(task, "start", service)
        verify_health(task, service, state.colour)


def _put_back(task: AppTask, backup: Backup) -> None:
    release = Path(os.path.realpath(task.paths.current))
    directory = task.app.directory_in(release)
    env = {**release_environment(task, release), **service_variables(task.app)}
    argv = restore_command(task.app, sys.executable)
    command = Command(argv, _SECONDS, _SECONDS, directory if directory.is_dir() else None, env)
    with backup.path.open("rb") as source:
        run(command, task.recorder.line, source=source)


def _log_decision(config: Config, app: str, why: str) -> None:
    decision = Decision(at=datetime.now(UTC), app=app, source="person", verdict=Verdict.RESTORED, why=why)
    with suppress(RedisError, PasswordUnreadable):
        append_decision(receiver_client(config.settings.redis.url, redis_user(config, "worker")), decision)


def _fail(text: str, command: str) -> int:
    sys.stderr.write(f"hookd: {text}\n  next: {command}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
