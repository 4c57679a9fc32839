"""The start of each phase: in its systemd unit on a server, and as this user with circus."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hookd.files.links import switch_link
from hookd.model.hint import Hint, HintKind
from hookd.model.units.phases import Phase, build_commands_file, check_command
from worker.context import AppTask, Task
from worker.errors import CommandFailed, Killed, ServiceMissing, TimedOut
from worker.phase.environment import command_environment
from worker.phase.unit import run_unit, stop_phases
from worker.process.run import SILENT, Command
from worker.report.cause import Cause, find_cause, limit_cause

# A program that is missing or cannot be executed, as `sh` and setpriv report it.
_NOT_STARTED: Final = re.compile(r"(?:cannot be started|ended with status 12[67]): $")


def run_build(task: Task, release: Path, commands: Sequence[Command]) -> None:
    """Run commands of a build in a release. Raises CommandFailed, and ServiceMissing without the unit."""
    if not task.app.uses_systemd:
        _run_direct(task, "build", commands)
        return
    total, silence = sum(command.total for command in commands), task.app.limits.silence_seconds
    lines = [
        {"argv": command.argv, "cwd": str(command.cwd), "env": dict(command.env), "files": dict(command.files)}
        for command in commands
    ]
    _write_build_commands(task, json.dumps(lines))
    try:
        start_unit(task, "build", release, [command.argv for command in commands], total=total, silence=silence)
    finally:
        _write_build_commands(task, "")


def _write_build_commands(task: Task, text: str) -> None:
    """Write the commands of a build, which only root and this user may read, because they hold variables.

    Raises ServiceMissing without the file.
    """
    try:
        build_commands_file(task.app).write_text(text, encoding="utf-8")
    except OSError as error:
        cause = f"the commands of a build cannot be written: {error.strerror}"
        raise ServiceMissing(cause, hint=Hint(HintKind.SET_UP)) from None


def recover_phases(task: Task) -> None:
    """End the phases of a killed deployment, and take over the files of its build. Raises CommandFailed."""
    if not task.app.uses_systemd:
        return
    if task.paths.crash_count.exists():
        stop_phases(task.app)
    trees = (entry for place in (task.paths.releases, task.paths.venvs) for entry in place.iterdir())
    if any(entry.lstat().st_uid != os.geteuid() for entry in trees):
        task.recorder.line("an earlier build was interrupted")
        task.paths.next.unlink(missing_ok=True)
        # The unit takes over the files that it finds, and has nothing else to do.
        _write_build_commands(task, "[]")
        run_unit(task, "build", (), total=task.app.limits.step_seconds, silence=task.app.limits.step_seconds)


def run_check(task: Task, release: Path) -> None:
    """Check that a release starts. Raises CommandFailed, and ServiceMissing without the unit."""
    limits = task.app.limits
    argvs = (check_command(task.app),)
    _run_own(task, "check", release, argvs, total=limits.step_seconds, silence=limits.silence_seconds)


def run_release_commands(task: Task, release: Path) -> None:
    """Run the release commands. Raises CommandFailed, and ServiceMissing without the unit."""
    seconds = task.app.release.seconds
    _run_own(task, "release", release, task.app.release.commands, total=seconds, silence=seconds)


def _run_own(
    task: Task, phase: Phase, release: Path, argvs: Sequence[tuple[str, ...]], *, total: float, silence: float
) -> None:
    """Run the app's own commands in a phase."""
    if task.app.uses_systemd:
        start_unit(task, phase, release, argvs, total=total, silence=silence)
        return
    env = command_environment(task, phase, release)
    _run_direct(task, phase, [Command(argv, total, silence, task.app.directory_in(release), env) for argv in argvs])


def start_unit(
    task: Task, phase: Phase, release: Path, argvs: Sequence[tuple[str, ...]], *, total: float, silence: float
) -> None:
    """Lead a phase to a release and run its unit. `total` and `silence` are its limits in seconds.

    The unit announces each of the commands `argvs` in its output. Raises CommandFailed, and ServiceMissing without the
    unit.
    """
    switch_link(task.paths.next, release)
    with explained(task, phase):
        run_unit(task, phase, [" ".join(argv) for argv in argvs], total=total, silence=silence)


def _run_direct(task: Task, phase: Phase, commands: Sequence[Command]) -> None:
    for number, command in enumerate(commands, 1):
        try:
            with explained(task, phase):
                task.run(command)
        except CommandFailed as error:
            error.started = number
            raise


@contextmanager
def explained(task: AppTask, phase: Phase) -> Iterator[None]:
    """Add the cause to the error of a phase's program: the key of its limit, or what its output says."""
    try:
        yield
    except TimedOut as error:
        key = "limits.silence_seconds" if error.limit.startswith(SILENT) else "limits.step_seconds"
        key = "release.seconds" if phase in ("backup", "release") else key
        limited = TimedOut.at(error.program, error.limit, key=key, started=error.started)
        raise _explain(limited, limit_cause(limited.cause, key, task.app)) from None
    except Killed:
        raise
    except CommandFailed as error:
        if cause := find_cause(phase, error.lines, task.app):
            raise _explain(error, cause) from None
        raise


def _explain(error: CommandFailed, cause: Cause) -> CommandFailed:
    """Replace the reason in an error by a cause. That of a program that did not start says all."""
    how = error.cause.removesuffix(error.reason) if error.reason else ""
    if error.reason:
        error.cause = cause.text if _NOT_STARTED.search(how) else how + cause.text
    error.args = (error.cause,)
    error.reason, error.hint, error.fault = cause.text, error.hint or cause.hint, cause.fault
    return error


def app_commands(task: Task, release: Path) -> list[Command]:
    """Return the build commands of an app for a release."""
    env, limits = command_environment(task, "build", release), task.app.limits
    cwd = task.app.directory_in(release)
    return [Command(argv, limits.step_seconds, limits.silence_seconds, cwd, env) for argv in task.app.build.commands]
