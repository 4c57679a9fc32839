"""A deployment's log: a text file, one line per line of output, credentials masked, control characters shown."""

import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hookd.model.text import printable
from worker.report.redaction import Redaction

LARGEST_BYTES: Final = 5 * 1024 * 1024
# Colours and cursor movements of build tools would act on the terminal of whoever reads the log.
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]")


class LogFile:
    """Appends lines to a deployment's log; past 5 MiB it says so once and drops the rest.

    A log that is `shared` may be read by its group: where the directory of all logs is setgid, by the receiver's.
    """

    def __init__(self, path: Path, masks: Redaction, *, shared: bool = False) -> None:
        self._descriptor = _open(path, 0o027 if shared else 0o077)
        self._masks = masks
        self._left = LARGEST_BYTES

    def line(self, step: str, text: str) -> None:
        """Write one line under the name of a step; a disk that is full costs the line, not the deployment."""
        if self._left <= 0:
            return
        whole = _bytes(f"{datetime.now():%H:%M:%S.%f}"[:12] + f" {step:<16} {self.clean(text)}\n")
        self._left -= len(whole)
        last = f"… the log ends here: it has reached {LARGEST_BYTES} bytes\n"
        with suppress(OSError):
            os.write(self._descriptor, whole if self._left > 0 else _bytes(last))

    def clean(self, text: str) -> str:
        """Mask credentials and make control characters visible."""
        return escape_control(self._masks.apply(_ANSI.sub("", text)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def escape_control(text: str) -> str:
    """Drop colours and make control characters visible."""
    return printable(_ANSI.sub("", text), keep="\t")


def _open(path: Path, umask: int) -> int:
    """Open a log to add to; what is made on the way is born with its mode, since setgid may be lost by a chmod."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    old = os.umask(umask)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
    finally:
        os.umask(old)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
