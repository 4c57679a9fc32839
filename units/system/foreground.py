"""Runs a command in a transient unit for the person at the terminal, and leaves nothing of it running."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from typing import Final, Self

from units.system.run import ENVIRONMENT, succeeds

# The time of a command between the signal of a person and the stop of its unit.
_GRACE_SECONDS: Final = 10
_STOP_SECONDS: Final = 60
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# systemd-run does not pass on the number of a signal, so a shell makes a status of it. Its traps let it outlive the
# signals that reach the command, too.
_SHELL: Final = ("/bin/sh", "-c", 'trap : HUP INT QUIT TERM; "$@"; exit $?', "sh")
_PIECE: Final = 65_536


class _Signals:
    """Collects the signals of a person. An ignored one stays ignored."""

    def __enter__(self) -> Self:
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._held = (self._reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                # The number goes to the pipe. An exception could be raised in any part of the program, and be lost.
                signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for descriptor in self._held:
            os.close(descriptor)

    def wait(self, process: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
        """Wait for the end of a process, and return the number of a signal that came before it."""
        ended = os.pidfd_open(process.pid)
        try:
            ready, _, _ = select.select([self._reader, ended], [], [], seconds)
        finally:
            os.close(ended)
        return os.read(self._reader, 1)[0] if self._reader in ready else None


def run_in_foreground(unit: str, properties: tuple[str, ...], argv: tuple[str, ...]) -> int:
    """Run a command in a new unit, and return its exit status, or 128 and the number of a signal.

    Ctrl-C and the other signals of a person reach the command. If it goes on, its unit is stopped.
    """
    is_terminal = os.isatty(0) and os.isatty(1)
    with ExitStack() as streams, _Signals() as signals:
        try:
            process = _start(systemd_run(unit, properties, argv, is_terminal=is_terminal), streams, is_terminal)
            if number := signals.wait(process):
                _end(unit, process, number, signals)
            return _status(process)
        finally:
            _stop(unit)


def systemd_run(unit: str, properties: tuple[str, ...], argv: tuple[str, ...], *, is_terminal: bool) -> tuple[str, ...]:
    """Build the command that runs `argv` in a unit, at a terminal in a new one."""
    options = ("--quiet", "--collect", "--wait", "--pty" if is_terminal else "--pipe", f"--unit={unit}")
    # In a command line systemd replaces variables behind a dollar.
    words = (word.replace("$", "$$") for word in (*_SHELL, *argv))
    return ("systemd-run", *options, *(f"--property={line}" for line in properties), "--", *words)


def _start(command: tuple[str, ...], streams: ExitStack, is_terminal: bool) -> subprocess.Popen[bytes]:
    """Start systemd-run. The command never gets the person's own terminal, because it could read what is typed."""
    stdin, stdout, stderr = (None, None, None) if is_terminal else map(streams.enter_context, map(_stream, range(3)))
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        # Only at a terminal the keys go to systemd-run itself.
        start_new_session=not is_terminal,
        env={**ENVIRONMENT, **_terminal_variables()},
        cwd="/",
    )


def _terminal_variables() -> dict[str, str]:
    """Return the variables for a new terminal. It gets no title and no colours of systemd's own."""
    own = {name: os.environ[name] for name in ("TERM", "COLORTERM", "NO_COLOR") if name in os.environ}
    return {**own, "SYSTEMD_TINT_BACKGROUND": "0", "SYSTEMD_ADJUST_TERMINAL_TITLE": "0"}


@contextmanager
def _stream(number: int) -> Iterator[int | None]:
    """Provide what stands for a standard stream that is a terminal: no input, and a pipe for output."""
    if not os.isatty(number):
        yield None
    elif number == 0:
        yield subprocess.DEVNULL
    else:
        reader, writer = os.pipe()
        copying = Thread(target=_copy, args=(reader, number), daemon=True)
        copying.start()
        try:
            yield writer
        finally:
            os.close(writer)
            copying.join(_GRACE_SECONDS)


def _copy(reader: int, target: int) -> None:
    with suppress(OSError), open(reader, "rb", buffering=0) as pipe:
        while piece := pipe.read(_PIECE):
            while piece:
                piece = piece[os.write(target, piece) :]


def _end(unit: str, process: subprocess.Popen[bytes], number: int, signals: _Signals) -> None:
    """End a command with a signal, or after another one or the grace period with a stop of its unit."""
    if not succeeds(("systemctl", "kill", f"--signal={number}", unit)):
        process.terminate()  # There is no unit yet.
    signals.wait(process, _GRACE_SECONDS)
    _stop(unit)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    process.kill()


def _stop(unit: str) -> None:
    """Stop a unit with all its processes, if it still runs."""
    succeeds(("systemctl", "stop", unit), seconds=_STOP_SECONDS)


def _status(process: subprocess.Popen[bytes]) -> int:
    returned = process.wait()
    return returned if returned >= 0 else 128 - returned
