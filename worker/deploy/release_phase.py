"""The release phase: the last commands before the switch, such as migrations, at most once per commit by themselves."""

import os

from rq.timeouts import JobTimeoutException

from hookd.model.deployment import MANUAL_TRIGGERS, StepName, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState, Quarantined, ReleaseCommandsNotRun, ReleaseCommandsRun
from worker.context import Task
from worker.errors import CommandFailed, DeployError, ReleaseCommandsFailed, ServiceMissing
from worker.phase.backup import run_backup
from worker.phase.phases import run_release_commands

_HALF_DONE = "the database may be half migrated"


def run_release_phase(task: Task, state: AppState, commit: str, name: str) -> None:
    """Run the release commands of a commit. Quarantines the commit and raises ReleaseCommandsFailed if one fails.

    A rollback runs none, because the older release does not know the newer database. A commit whose commands ended well
    runs them again only for a person. Raises ServiceMissing if none could start, which quarantines nothing.
    """
    commands = task.app.release.commands
    if not commands:
        task.paths.clean_backup.unlink(missing_ok=True)
        return
    trigger, earlier = task.deployment.trigger, state.release_commands_of(commit)
    if trigger is Trigger.ROLLBACK:
        task.recorder.line("a rollback runs no release commands: the database stays as it is")
        return
    if earlier is not None and earlier.finished and trigger not in MANUAL_TRIGGERS:
        task.recorder.line("the release commands of this commit ran already")
        return
    backup = _back_up(task, name)
    with task.recorder.step(StepName.RELEASE_COMMANDS):
        _run_commands(task, commit, name, earlier, backup)


def _run_commands(task: Task, commit: str, name: str, earlier: ReleaseCommandsRun | None, backup: str | None) -> None:
    """Run the release commands between two notes in the journal. `earlier` is their last run for this commit."""
    clean = _note_clean(task, backup)
    task.journal.add(ReleaseCommandsRun(**task.stamp(), commit=commit, backup=clean))
    try:
        run_release_commands(task, task.paths.release(name))
    except ServiceMissing:
        # Its earlier run counts on.
        task.journal.add(earlier or ReleaseCommandsNotRun(**task.stamp(), commit=commit))
        if clean == backup:
            task.paths.clean_backup.unlink(missing_ok=True)
        raise
    except (CommandFailed, JobTimeoutException) as error:
        task.cancel_timeout()
        raise _failed(task, commit, error, clean) from None
    task.journal.add(ReleaseCommandsRun(**task.stamp(), commit=commit, finished=True, backup=backup))
    task.paths.clean_backup.unlink(missing_ok=True)


def _note_clean(task: Task, backup: str | None) -> str | None:
    """Return the backup from before the first commands that failed, which is kept until some end well.

    A backup after a failure holds a half migrated database.
    """
    link = task.paths.clean_backup
    if backup is not None and not link.is_symlink():
        link.symlink_to(backup)
    return os.readlink(link) if link.is_symlink() else None


def _back_up(task: Task, name: str) -> str | None:
    """Make the app's backup and return its name, or None without one. Raises DeployError before any release command."""
    if task.app.release.backup is None:
        return None
    with task.recorder.step(StepName.BACKUP):
        try:
            run_backup(task, task.paths.release(name))
        except CommandFailed as error:
            cause = f"the backup failed, and no release command ran: {task.cause_of(error)}"
            raise DeployError(cause, hint=error.hint) from None
    return name


def quarantine_interrupted(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit if the worker died during its release commands."""
    run = state.release_commands_of(commit)
    if run is None or run.finished or state.quarantine_of(commit):
        return state
    cause = f"its release commands were interrupted; {_HALF_DONE}{_about(run.backup)}"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))


def _failed(
    task: Task, commit: str, error: CommandFailed | JobTimeoutException, backup: str | None
) -> ReleaseCommandsFailed:
    cause = f"{_describe(task, error)}; {_HALF_DONE}{_about(backup)}"
    task.try_journal(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
    kind = HintKind.RESTORE if task.app.uses_systemd else HintKind.RESTORE_OWN
    return ReleaseCommandsFailed(cause, hint=Hint(kind, backup) if backup else getattr(error, "hint", None))


def _about(backup: str | None) -> str:
    return f" (backup {backup}), restore it first" if backup else ""


def _describe(task: Task, error: CommandFailed | JobTimeoutException) -> str:
    """Return which release command failed and why, and which ones ran before it."""
    commands = [f"`{' '.join(argv)}`" for argv in task.app.release.commands]
    if isinstance(error, JobTimeoutException) or not error.started:
        return f"the release commands failed: {task.cause_of(error)}"
    *done, failed = commands[: error.started]
    after = f" after {', '.join(done)}" if done else ""
    return f"the release command {failed} failed{after}: {task.cause_of(error)}"
