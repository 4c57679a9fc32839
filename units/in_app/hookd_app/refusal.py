"""The reason why a worker took no requests. The server's own process publishes it when it ends."""

from __future__ import annotations

import atexit
import logging
import mmap
import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from gunicorn.systemd import sd_notify

# Without systemd, the file for the reason.
_FILE = os.environ.get("HOOKD_REFUSAL_FILE", "")
# Variables without a secret.
_OPEN_VARIABLES = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"})
# Shared by all workers.
_reason = mmap.mmap(-1, 1024)


def note(text: str) -> None:
    """Note the reason of this worker, without the values of the app's variables."""
    _reason[:] = _without_values(text).encode()[: len(_reason)].ljust(len(_reason), b"\0")


def note_end(worker: Any) -> None:
    """Note the exception that ends a worker before it is ready, unless its reason is known."""
    ended = sys.exc_info()[1]
    if isinstance(ended, SystemExit) and ended.__context__ and not worker.booted and not _reason[0]:
        note(describe(ended.__context__))


def publish_at_end(server: Any) -> None:
    """Publish the reason when a server's own process ends.

    gunicorn skips its hook on_exit if two workers fail at once.
    """
    atexit.register(_publish, server)


def _publish(server: Any) -> None:
    if os.getpid() != server.pid:
        return
    text = _reason[:].rstrip(b"\0").decode("utf-8", "replace")
    if text:
        sd_notify(f"STATUS=refused: {text}", server.log)
    if text and _FILE:
        with open(_FILE, "w", encoding="utf-8") as file:
            file.write(text)


def describe(error: BaseException) -> str:
    """Return the name of an exception and the first line of its text."""
    text = " ".join(str(error).strip().splitlines()[:1])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_values(text: str) -> str:
    """Mask the values of the app's variables, because every user may read a service's status."""
    values = (v for k, v in os.environ.items() if k not in _OPEN_VARIABLES and not k.startswith("HOOKD_"))
    for value in sorted((value for value in values if len(value) >= 6), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


@contextmanager
def noted_errors() -> Iterator[list[BaseException]]:
    """Collect the exceptions that the app logs meanwhile, because a framework turns one into an answer."""
    raised: list[BaseException] = []
    make_record = logging.getLogRecordFactory()

    def noting(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*arguments, **options)
        if record.exc_info and record.exc_info[1]:
            raised.append(record.exc_info[1])
        return record

    logging.setLogRecordFactory(noting)
    try:
        yield raised
    finally:
        if logging.getLogRecordFactory() is noting:
            logging.setLogRecordFactory(make_record)
