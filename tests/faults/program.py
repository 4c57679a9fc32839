"""A program that restarts whenever it ends, as with systemd. It can be killed, stopped or run under another one."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from tests.support.installation import Installation
from tests.support.processes import PROJECT, python, wait_for

# Shorter than in units/templates/systemd, because tests wait for it.
_RESTART_SECONDS = 0.2
_PAUSE_SECONDS = 0.02


class Program:
    """A program of an installation that runs until the block ends.

    `under` precedes its command line, and `variables` extend its environment, each from its next start.
    """

    def __init__(self, site: Installation, name: str, *arguments: str) -> None:
        self.name = name
        self.under: tuple[str, ...] = ()
        self.variables: dict[str, str] = {}
        self.starts = 0
        self._site = site
        self._argv = python("-P", "-m", *arguments)
        self._ended, self._held = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_under = False
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self.runs, what=self.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def runs(self) -> bool:
        """True if the program has a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self._site.directory / f"{self.name}.log"

    def kill(self) -> None:
        """Kill the program alone. Its children must end by themselves."""
        self._signal(signal.SIGKILL)

    def restart(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End the program and wait until it runs again."""
        with self.held(sig):
            pass

    @contextmanager
    def held(self, sig: signal.Signals = signal.SIGKILL) -> Iterator[None]:
        """End the program and do not restart it during the block."""
        self._held.set()
        try:
            self._signal(sig)
            wait_for(lambda: not self.runs, 60, what=f"the end of {self.name}")
            yield
        finally:
            starts = self.starts
            self._held.clear()
        wait_for(lambda: self.starts > starts, what=f"{self.name} again")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the program during the block, if it runs."""
        process = self._process
        if process is None or not self.runs:
            yield
            return
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def _signal(self, sig: signal.Signals) -> None:
        """Send a signal to the program itself, also if it runs under another one."""
        assert self._process is not None
        if not self._is_under:
            self._process.send_signal(sig)
            return
        with suppress(OSError):
            for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
                os.kill(int(child), sig)

    def _keep(self) -> None:
        with self.log.open("ab") as log:
            while not self._ended.is_set():
                if not self._held.is_set():
                    self._process = self._start(log)
                    while self._process.poll() is None and not self._ended.wait(_PAUSE_SECONDS):
                        pass
                    self._ended.wait(_RESTART_SECONDS)
                self._ended.wait(_PAUSE_SECONDS)
            if self._process is not None:
                self._signal(signal.SIGTERM)
                self._process.wait(60)

    def _start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*self.under, *self._argv],
            cwd=PROJECT,
            env={**self._site.environment, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._is_under = bool(self.under)
        self.starts += 1
        return process
