"""One phase in its systemd unit: the output goes to the deployment's log live, and a limit ends the whole unit."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from hookd.files.backups import FULL, REFUSED
from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.model.units.backup import dump_unit
from hookd.model.units.phases import Phase, output_pipe, phase_unit, phases_of
from hookd.model.units.systemctl import start_phase, stop_phase
from worker.context import AppTask
from worker.errors import CommandFailed, DeployError, Killed, ServiceMissing, TimedOut
from worker.process.run import LineSplitter, run, run_client
from worker.process.systemctl import OWN_SIGNALS, killing_signal, number, show_unit, sudo_command
from worker.report.output import error_line

# systemd kills a unit that ignores its TERM, and root changes the owners of a build, within 120 s.
_STOP_SECONDS: Final = 150.0
_PROPERTIES: Final = "LoadState,Result,ExecMainCode,ExecMainStatus,MemoryMax"
# Statuses with which systemd reports that it could not start a program, systemd.exec(5).
_NOT_STARTED: Final = range(200, 245)
_MIB: Final = 1024 * 1024


@dataclass
class _Progress:
    """The progress of a phase, from its output: each command is announced as `$ COMMAND` before it runs."""

    task: AppTask
    commands: Sequence[str]
    started: int = 0

    @property
    def program(self) -> str:
        """Return the program of the newest command, or ""."""
        return Path(self.commands[self.started - 1].split(" ")[0]).name if self.started else ""

    def take(self, line: str) -> None:
        """Log a line of output, and note the start of the next command."""
        if self.started < len(self.commands) and line == f"$ {self.commands[self.started]}".rstrip():
            self.started += 1
        self.task.recorder.line(line)


def run_unit(task: AppTask, phase: Phase, commands: Sequence[str], *, total: float, silence: float) -> None:
    """Start the unit of a phase, write its output to the log, and wait for its end.

    `commands` are announced in the output, `total` and `silence` are limits in seconds. Raises CommandFailed, and
    ServiceMissing if this host has no such unit.
    """
    unit, progress = phase_unit(task.app, phase), _Progress(task, commands)
    lines = LineSplitter(progress.take)
    command = sudo_command(start_phase(unit), total, silence)
    try:
        with _opened_pipe(task.app) as pipe:
            status, own = run_client(command, pipe, lines, lambda: _stop(unit))
    except TimedOut as error:
        raise TimedOut.at(progress.program or f"the {phase}", error.limit, started=progress.started) from None
    except CommandFailed as error:
        error.started = progress.started
        raise
    if status:
        raise _failure(task.app, phase, progress, tuple(lines.kept), own)


def stop_phases(app: App) -> list[str]:
    """End the phases that still run after their worker's death, and return their units.

    The pipe is open meanwhile, because root's part after a build waits for a reader.
    """
    units = [phase_unit(app, phase) for phase in phases_of(app)]
    with suppress(CommandFailed, ServiceMissing):
        running = [unit for unit in units if _is_running(unit)]
        if running:
            with _opened_pipe(app):
                for unit in running:
                    _stop(unit)
        return running
    return []


def _is_running(unit: str) -> bool:
    return show_unit(unit, "ActiveState").get("ActiveState") not in ("inactive", "failed")


@contextmanager
def _opened_pipe(app: App) -> Iterator[FileIO]:
    """Open the pipe for reading, and for writing too: it has no end while a command of the unit starts the next."""
    try:
        descriptor = os.open(output_pipe(app), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        cause = f"the pipe {output_pipe(app)} cannot be read: {error.strerror}"
        raise ServiceMissing(cause, hint=Hint(HintKind.SET_UP)) from None
    with FileIO(descriptor, "rb") as pipe:
        yield pipe


def _stop(unit: str) -> None:
    """End all processes of a unit. A unit that is gone needs no end."""
    with suppress(CommandFailed):
        run(sudo_command(stop_phase(unit), _STOP_SECONDS, _STOP_SECONDS), lambda line: None)


def _failure(app: App, phase: Phase, progress: _Progress, lines: tuple[str, ...], own: str) -> DeployError:
    """Return the error of a unit that failed. `own` is systemctl's last line."""
    name, started = progress.program or f"the {phase}", progress.started
    unit = _failed_unit(app, phase) if started else phase_unit(app, phase)
    found, last = show_unit(unit, _PROPERTIES), lines[-1] if lines else own
    status, result = number(found, "ExecMainStatus"), found.get("Result", "")
    if phase == "backup" and last.startswith(FULL):
        directory = last.removeprefix(FULL)
        return CommandFailed(f"no space is left in {directory}", hint=Hint(HintKind.SHOW_DISK_SPACE, directory))
    if found.get("LoadState") == "not-found" and not started:
        return ServiceMissing(f"the unit {unit} does not exist", hint=Hint(HintKind.SET_UP))
    if result == "oom-kill":
        return _out_of_memory(phase, number(found, "MemoryMax"), lines, started)
    if killed_by := killing_signal(found):
        kind = CommandFailed if killed_by in OWN_SIGNALS else Killed
        return kind(f"{name} was killed by signal {killed_by}", lines=lines, started=started)
    if status in _NOT_STARTED and not started:
        return ServiceMissing(f"systemd cannot start {unit} (status {status})", hint=Hint(HintKind.SHOW_UNIT_LOG, unit))
    if last.startswith(REFUSED) and phase in ("build", "backup") and unit == phase_unit(app, phase):
        what = "the build left files that are refused" if phase == "build" else "it cannot be kept"
        return CommandFailed(f"{what}: {last.removeprefix(REFUSED)}", lines=lines)
    how = f"ended with status {status}" if status else f"failed ({result or 'not started'})"
    return CommandFailed.ended(f"{name} {how}", lines or (own,), error_line(lines or (own,)), started=started)


def _failed_unit(app: App, phase: Phase) -> str:
    """Return the unit of a phase, or that of the backup's command if this one failed."""
    is_command = phase == "backup" and show_unit(dump_unit(app), "Result").get("Result", "success") != "success"
    return dump_unit(app) if is_command else phase_unit(app, phase)


def _out_of_memory(phase: Phase, limit: int, lines: tuple[str, ...], started: int) -> Killed:
    key = "build.memory_max" if phase == "build" else "service.memory_max"
    size = f"{limit / _MIB / 1024:.3g} GiB" if limit >= 1024 * _MIB else f"{limit // _MIB} MiB"
    cause = f"the {phase} ran out of memory ({f'limit {size}' if limit else 'no limit'}): raise {key}"
    hint = Hint(HintKind.SET_KEY, f"{key}={2 * limit // _MIB}M") if limit else None
    return Killed(cause, lines=lines, hint=hint, started=started)
