"""Runs other programs: with a fixed environment and closed input, and with their output in the error."""

import subprocess
from collections.abc import Mapping
from typing import Final

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
    try:
        done = subprocess.run(
            argv,
            input=text or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            # A program of another user must not type into root's terminal.
            start_new_session=True,
            env={**ENVIRONMENT, **(extra or {})},
            cwd="/",
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else (error.stdout or "")
        raise CommandFailed(argv, f"took longer than {seconds:g} s", printed) from None
    except OSError as error:
        raise CommandFailed(argv, f"cannot be run ({error.strerror})", "") from None
    if done.returncode:
        raise CommandFailed(argv, f"ended with {done.returncode}", done.stdout)
    return done.stdout


def succeeds(argv: tuple[str, ...], *, seconds: float = 60) -> bool:
    """Run a program and return True if its exit status is 0."""
    try:
        run(argv, seconds=seconds)
    except CommandFailed:
        return False
    return True
