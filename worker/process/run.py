"""The only door to subprocess: run one program in its own process group, with limits on its run and its silence.

A program that ends, is stopped or reaches a limit takes its whole process group with it. In a deployment it also takes
the processes that left the group. The program is killed when the process that started it dies.
"""

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from worker.errors import CommandFailed, TimedOut
from worker.process.subreaper import kill_descendants
from worker.report.output import error_line

# PATH of all programs.
# A limit of silence, in the words of its error.
SILENT: Final = "printed nothing for"
SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
# setpriv lets the kernel kill the program when its parent dies, also where threads rule out `preexec_fn`.
_DIE_WITH_PARENT: Final = ("/usr/bin/setpriv", "--pdeathsig", "KILL", "--")
_CANNOT_EXECUTE: Final = (126, 127)
GRACE_SECONDS: Final = 5.0
# A package's build prints a hundred lines between its error and its end.
_KEPT_LINES: Final = 200
_LONGEST_LINE: Final = 4000
_PIECE: Final = 65_536


@dataclass(frozen=True)
class Command:
    """A program to run: `total` and `silence` are its limits in seconds, `env` is its whole environment.

    `files` are texts by path, which the unit of a build writes before, as the user of the build.
    """

    argv: tuple[str, ...]
    total: float
    silence: float
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def program(self) -> str:
        """Return the program's name."""
        return Path(self.argv[0]).name


def remove_tree(tree: Path) -> None:
    """Remove a directory tree that may be missing, on its own file system only. Raises CommandFailed."""
    argv = ("rm", "-rf", "--one-file-system", "--", str(tree))
    run(Command(argv, 300, 300, env={"PATH": SYSTEM_PATH}), lambda line: None)


Take = Callable[[bytes], None]
Line = Callable[[str], None]


def run(command: Command, each_line: Line, *, source: IO[bytes] | None = None, result: IO[bytes] | None = None) -> None:
    """Run a program and pass each line of its output to `each_line`.

    It reads the file `source`, or nothing. With a file `result` its standard output goes there, and the lines are those
    of standard error. Raises CommandFailed when it cannot be started, ends with another status than 0, or reaches a
    limit.
    """
    lines = LineSplitter(each_line)
    process = _start(command, source, result)
    with cast("IO[bytes]", process.stderr if result else process.stdout) as output:
        status = supervise(process, {output: lines.take}, command, lines)
    if status:
        raise command_failed(command, status, tuple(lines.kept))


def run_client(command: Command, pipe: IO[bytes], lines: "LineSplitter", stop: Callable[[], None]) -> tuple[int, str]:
    """Run a program that waits for others, which print into `pipe`. Return its status and its own last line.

    At a limit, `stop` ends the others and so the program. Raises CommandFailed.
    """
    process, own = _start(command), LineSplitter(lambda line: None)
    with cast("IO[bytes]", process.stdout) as output:
        status = supervise(process, {output: own.take, pipe: lines.take}, command, lines, stop)
    own.close()
    return status, own.kept[-1] if own.kept else ""


def _start(
    command: Command, source: IO[bytes] | None = None, result: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            (*_DIE_WITH_PARENT, *command.argv),
            cwd=command.cwd,
            env=dict(command.env),
            stdin=source or subprocess.DEVNULL,
            stdout=result or subprocess.PIPE,
            stderr=subprocess.PIPE if result else subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{command.program} cannot be started: {error.strerror}") from None


def lines_of(command: Command) -> list[str]:
    """Run a program and return the lines it prints. Raises CommandFailed with the one that names its error."""
    lines: list[str] = []
    run(command, lines.append)
    return lines


def command_failed(command: Command, status: int, lines: tuple[str, ...]) -> CommandFailed:
    """Return the error for a program that ended with `status` after it printed `lines`."""
    last = lines[-1] if lines else ""
    if status in _CANNOT_EXECUTE and last.startswith("setpriv: "):
        return CommandFailed.ended(f"{command.program} cannot be started", (last,), last.rpartition(": ")[2])
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return CommandFailed.ended(f"{command.program} {how}", lines, error_line(lines))


def supervise(
    process: "subprocess.Popen[bytes]",
    outputs: Mapping[IO[bytes], Take],
    command: Command,
    lines: "LineSplitter",
    stop: Callable[[], None] = lambda: None,
) -> int:
    """Read a started program's output until it ends, and return its status. Raises CommandFailed at a limit.

    `stop` comes first at a limit, for what the program has started elsewhere.

    Afterwards no process of its group is alive. Where this process is a subreaper, which runs one program at a time,
    daemons that left the group are killed too.
    """
    try:
        _read_until_exit(process, outputs, command)
        return _reap(process, outputs)
    except BaseException:
        try:
            stop()
        finally:
            _stop_group(process)
        raise
    finally:
        kill_descendants()
        lines.close()


def _read_until_exit(process: "subprocess.Popen[bytes]", outputs: Mapping[IO[bytes], Take], command: Command) -> None:
    end = time.monotonic() + command.total
    heard = time.monotonic()
    exited = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(exited, selectors.EVENT_READ)
            for output, take in outputs.items():
                os.set_blocking(output.fileno(), False)
                selector.register(output, selectors.EVENT_READ, take)
            while True:
                ready = selector.select(max(0.0, min(end, heard + command.silence) - time.monotonic()))
                if any(key.fileobj == exited for key, _ in ready):
                    return
                for key, _ in ready:
                    heard = time.monotonic()
                    if not _pass_on(key.fileobj, key.data):
                        selector.unregister(key.fileobj)
                _check_limits(command, end, heard)
    finally:
        os.close(exited)


def _check_limits(command: Command, end: float, heard: float) -> None:
    now = time.monotonic()
    if now >= end:
        raise TimedOut.at(command.program, f"ran longer than {command.total:g} s")
    if now >= heard + command.silence:
        raise TimedOut.at(command.program, f"{SILENT} {command.silence:g} s")


def _pass_on(output: Any, take: Take) -> bool:
    """Pass on the bytes that can be read now. Return False at the end of the output."""
    try:
        data = os.read(output.fileno(), _PIECE)
    except BlockingIOError:
        return True
    take(data)
    return bool(data)


def _reap(process: "subprocess.Popen[bytes]", outputs: Mapping[IO[bytes], Take]) -> int:
    """Kill the rest of the group while its id is still taken, and return the program's status."""
    _signal_group(process, signal.SIGKILL)
    status = process.wait()
    for output, take in outputs.items():
        # One read takes all that a pipe holds, and no more: a daemon that left the group may go on writing.
        _pass_on(output, take)
    return status


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", sig: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, sig)


class LineSplitter:
    """Splits a stream of bytes into lines and keeps the last ones. `\\r`, as in a progress display, ends a line."""

    def __init__(self, each: Line) -> None:
        self._each = each
        self._open = b""
        self.kept: deque[str] = deque(maxlen=_KEPT_LINES)

    def take(self, data: bytes) -> None:
        """Add bytes, and pass on each line that is complete or too long."""
        *whole, self._open = (self._open + data).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            self._emit(line)
        if len(self._open) > _LONGEST_LINE:
            rest = len(self._open) % _LONGEST_LINE
            self._emit(self._open[: len(self._open) - rest])
            self._open = self._open[len(self._open) - rest :]

    def close(self) -> None:
        """Pass on the last line, which has no newline."""
        self._emit(self._open)
        self._open = b""

    def _emit(self, line: bytes) -> None:
        """Pass on a line, a very long one in pieces."""
        for start in range(0, len(line), _LONGEST_LINE):
            text = line[start : start + _LONGEST_LINE].decode("utf-8", "replace").rstrip()
            if text:
                self.kept.append(text)
                self._each(text)
