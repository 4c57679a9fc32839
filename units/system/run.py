"""The units' one door to other programs: a stated environment, closed input, output kept for the message."""

import subprocess
from collections.abc import Mapping
from typing import Final

_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
_LINES: Final = 15


class CommandFailed(Exception):
    """A command did not end well; its text says which, how, and what it printed last."""

    def __init__(self, argv: tuple[str, ...], what: str, output: str) -> None:
        self.argv, self.output = argv, output.strip()
        tail = "\n".join(f"  {line}" for line in self.output.splitlines()[-_LINES:])
        super().__init__(f"{' '.join(argv)} {what}" + (f":\n{tail}" if tail else ""))


def run(
    argv: tuple[str, ...], *, seconds: float = 60, text: str | None = None, extra: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end and return what it printed; `text` is its standard input.

    Raises CommandFailed when it ends badly, takes longer than `seconds`, or is not there.
    """
    try:
        done = subprocess.run(
            argv,
            input=text or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            # Without root's terminal: what runs as somebody else could otherwise type into it.
            start_new_session=True,
            env={**_ENVIRONMENT, **(extra or {})},
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
    """Run a program that answers with its exit status."""
    try:
        run(argv, seconds=seconds)
    except CommandFailed:
        return False
    return True
