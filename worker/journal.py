"""The journal on disk: one file per app and one line per event, each written through before the deployment goes on."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.files.safe_open import sync_directory
from hookd.model.journal import AppState, JournalEvent, compact, decode, encode, fold

_COMPACT_ABOVE: Final = 500


class Journal:
    """Reads and extends the journal of one app. Writers hold the app's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def state(self) -> AppState:
        """Return the state of the app that follows from its events. Raises OSError."""
        return fold(self.events())

    def add(self, *events: JournalEvent) -> AppState:
        """Write events, wait until they are on disk, and return the new state.

        Writes all of them or none. Raises OSError.
        """
        data = "".join(f"{encode(event)}\n" for event in events).encode()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self._path.exists()
        with self._path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                data = b"\n" + data  # A crash cut the last line.
            try:
                while data:  # A disk that fills up takes only a part at first.
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
                if is_new:
                    sync_directory(self._path.parent)
            except OSError:
                with suppress(OSError):
                    file.truncate(size)  # A part of the events must not be read later.
                raise
        return self.state()

    def shorten(self) -> None:
        """Rewrite a long journal without its obsolete events."""
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
        """Return the events that can be read. Raises OSError."""
        if not self._path.exists():
            return []
        # Not splitlines(): texts inside an event may hold other line separators.
        return decode(self._path.read_text(encoding="utf-8", errors="replace").split("\n"))
