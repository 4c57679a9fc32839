"""Opens a file where another user may have put anything in its place: a plain file of bounded size, or none."""

import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final

from hookd.store.tree import opened

# Without O_NONBLOCK a pipe in the file's place would wait for its writer.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# More than the worker writes into a log, journal or key.
MOST_BYTES: Final = 16 * 1024 * 1024


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file that holds at most MOST_BYTES; it may grow while it is read.

    Raises FileNotFoundError, PermissionError, and OSError for whatever else stands there: neither the file nor its
    directory may be a link.
    """
    with opened(path.parent) as directory:
        descriptor = os.open(path.name, _FLAGS, dir_fd=directory)
    if reason := _why_not(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.EINVAL, reason, str(path))
    return os.fdopen(descriptor, "rb")


def _why_not(found: os.stat_result) -> str | None:
    if not S_ISREG(found.st_mode):
        return "it is no plain file"
    return f"it holds more than {MOST_BYTES >> 20} MiB" if found.st_size > MOST_BYTES else None
