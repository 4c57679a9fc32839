"""The journal on disk: one file per app, one line per event, each on disk before the next thing happens."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from hookd.files.safe_open import sync_directory
from hookd.model.journal import AppState, JournalEvent, compact, decode, encode, fold

_COMPACT_ABOVE: Final = 500


class Journal:
    """Reads and extends one app's journal; used under the app's lock only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def state(self) -> AppState:
        """Work out where the app stands."""
        return fold(self.events())

    def add(self, *events: JournalEvent) -> AppState:
        """Write events, wait until they are on disk, and return the state they lead to.

        Raises OSError when they cannot be written; then none of them is.
        """
        text = "".join(f"{encode(event)}\n" for event in events)
        is_new = not self._path.exists()
        with self._path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and not self._ends_with_newline(file.fileno(), size):
                text = f"\n{text}"  # A crash tore the last line; this one must not be glued to it.
            try:
                _write_all(file, text.encode())
                os.fsync(file.fileno())
                if is_new:
                    sync_directory(self._path.parent)
            except OSError:
                with suppress(OSError):
                    file.truncate(size)  # What cannot be relied on did not happen: nobody must read it.
                raise
        return self.state()

    @staticmethod
    def _ends_with_newline(descriptor: int, size: int) -> bool:
        return os.pread(descriptor, 1, size - 1) == b"\n"

    def shorten(self) -> None:
        """Rewrite a long journal without the events that no longer matter."""
        events = self.events()
        if len(events) <= _COMPACT_ABOVE:
            return
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write("".join(f"{encode(event)}\n" for event in compact(events)).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
        sync_directory(self._path.parent)

    def events(self) -> list[JournalEvent]:
        """Read what has happened, as far as it can be read; raises OSError."""
        if not self._path.exists():
            return []
        # Not splitlines(): a text inside an event may hold characters that it takes for a line's end.
        return decode(self._path.read_text(encoding="utf-8", errors="replace").split("\n"))


def _write_all(file: FileIO, data: bytes) -> None:
    """Write all of it: a disk that fills up takes a part first."""
    while data:
        data = data[file.write(data) :]
