"""A terminal at which a person types on a machine."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.server.machine import Machine

_SECONDS = 60


class Terminal:
    """A command at a terminal of its own: what it shows, what a person types, and its end."""

    def __init__(self, descriptor: int, device: tuple[int, int], process: subprocess.Popen[bytes]) -> None:
        self.device = device
        self.shown = ""
        self._descriptor = descriptor
        self._process = process

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows a text, or fail the test."""
        end = time.monotonic() + _SECONDS
        while text not in self.shown:
            assert self._read(end), f"{text!r} was not shown: {self.shown}"

    def end(self) -> int:
        """Wait for the end of the command, and return its exit status."""
        end = time.monotonic() + _SECONDS
        while self._read(end):
            pass
        return self._process.wait(_SECONDS)

    def close(self) -> None:
        """Close the window."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, end: float) -> bool:
        """Read what is shown next. Return False after the end of the output or of the time."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0, end - time.monotonic()))
        piece = b""
        with suppress(OSError):  # Nobody holds the other end.
            piece = os.read(self._descriptor, 65_536) if ready else b""
        self.shown += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def terminal(machine: Machine, *argv: str, **env: str) -> Iterator[Terminal]:
    """Run a command of root's at a terminal during the block."""
    person, program = os.openpty()
    found = os.fstat(program)
    # The session begins inside, because keys such as Ctrl-C also reach all of its programs outside.
    command = machine.command("setsid", "--ctty", *argv, env={"TERM": "xterm", **env})
    process = subprocess.Popen(command, stdin=program, stdout=program, stderr=program, start_new_session=True)
    os.close(program)
    opened = Terminal(person, (found.st_dev, found.st_rdev), process)
    try:
        yield opened
    finally:
        opened.close()
        process.kill()
        process.wait()
