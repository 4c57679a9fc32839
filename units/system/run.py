"""Runs other programs: with a fixed environment and closed input, and with their output in the error."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Timer
from typing import IO, Final, cast

ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
_LINES: Final = 15


class CommandFailed(Exception):
    """A command failed. The text has the command, its end, and its last lines of output."""

    def __init__(self, argv: tuple[str, ...], end: str, output: str) -> None:
        self.output = output.strip()
        tail = "\n".join(f"  {line}" for line in self.output.splitlines()[-_LINES:])
        super().__init__(f"{' '.join(argv)} {end}" + (f":\n{tail}" if tail else ""))


def run(
    argv: tuple[str, ...], *, seconds: float = 60, text: str | None = None, extra: Mapping[str, str] | None = None
) -> str:
    """Run a program and return its output. `text` is its standard input.

    Raises CommandFailed for an exit status, a timeout, or a missing program.
    """
    return (
        run_bytes(argv, seconds=seconds, given=(text or "").encode(), extra=extra)
        .decode(errors="replace")
        .replace("\r\n", "\n")
    )


def run_bytes(
    argv: tuple[str, ...], *, seconds: float = 60, given: bytes = b"", extra: Mapping[str, str] | None = None
) -> bytes:
    """Run a program and return its output as it is. Raises CommandFailed, as `run` does."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A program of another user must not type into root's terminal.
            start_new_session=True,
            env={**ENVIRONMENT, **(extra or {})},
            cwd="/",
        )
    except OSError as error:
        raise CommandFailed(argv, f"cannot be run ({error.strerror})", "") from None
    with process:
        try:
            output, _ = process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            _end_all(process)
            raise CommandFailed(argv, f"took longer than {seconds:g} s", _text(error.stdout or b"")) from None
        except BaseException:
            _end_all(process)
            raise
    if process.returncode:
        raise CommandFailed(argv, f"ended with {process.returncode}", _text(output))
    return output


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with what it has started, such as a command of `runuser`."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


@contextmanager
def started(
    argv: tuple[str, ...], *, seconds: float = 60, extra: Mapping[str, str] | None = None
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Start a program, and return its input and its output. It is killed at the end, and after `seconds`."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**ENVIRONMENT, **(extra or {})},
        cwd="/",
    )
    limit = Timer(seconds, process.kill)
    limit.start()
    try:
        yield cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def succeeds(argv: tuple[str, ...], *, seconds: float = 60) -> bool:
    """Run a program and return True if its exit status is 0."""
    try:
        run(argv, seconds=seconds)
    except CommandFailed:
        return False
    return True
