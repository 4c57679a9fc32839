"""The files of a release on record, and those that were written into it afterwards."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Final

from hookd.files.safe_open import Unauditable, closing_descriptor, walk

# Made again by themselves: bytecode, and caches of well-known tools.
_CACHES: Final = frozenset(
    "__pycache__ .cache .pytest_cache .mypy_cache .ruff_cache .sass-cache .webassets-cache .hypothesis".split()
)
_TEMPORARY: Final = (".pyc", ".pyo", ".pid", ".sock", ".swp")
_CLOSED: Final = -1


def record_files(release: Path, record: Path) -> None:
    """Write the names and the times of a release's files to a record. Raises OSError."""
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows = (f"{changed:x} {path}" for path, changed in _files(release))
    text = "\0".join(rows).encode("utf-8", "surrogateescape")
    record.write_bytes(gzip.compress(text, compresslevel=1))


def written_files(release: Path, record: Path) -> list[str]:
    """Return the files that were made or changed in a release since its record, in order, or none without one.

    A directory that this user cannot read counts as one file. Raises OSError.
    """
    known = _read(record)
    return [] if known is None else sorted(path for path, at in _files(release) if known.get(path) != at)


def outermost(paths: Iterable[str], record: Path) -> list[str]:
    """Return the paths, but in place of those below a new directory the outermost such directory."""
    known = {parent for path in _read(record) or () for parent in (path, *_parents(path))}
    found = (next((parent for parent in _parents(path) if parent not in known), path) for path in paths)
    return list(dict.fromkeys(found))


def _parents(path: str) -> list[str]:
    """Return the directories of a path, the outermost first."""
    return [path[:at] for at, sign in enumerate(path) if sign == "/" and at]


def _read(record: Path) -> dict[str, int] | None:
    try:
        text = gzip.decompress(record.read_bytes()).decode("utf-8", "surrogateescape")
        rows = [row.partition(" ") for row in text.split("\0") if row]
        return {path: int(changed, 16) for changed, _, path in rows} or None
    except (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error, ValueError):
        return None  # A power cut can leave a damaged one.


def _files(top: Path) -> Iterator[tuple[str, int]]:
    """Return each regular file with the time of its last change in nanoseconds, except caches.

    Paths below open directories may be longer than the system takes.
    """
    try:
        descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with closing_descriptor(descriptor):
        for found in walk("", descriptor):
            if not _CACHES.isdisjoint(found.path.split("/")):
                continue
            if isinstance(found, Unauditable):
                yield found.path[1:], _CLOSED
                continue
            for name in found.names:
                with suppress(FileNotFoundError):
                    about = os.stat(name, dir_fd=found.descriptor, follow_symlinks=False)
                    if S_ISREG(about.st_mode) and not name.endswith(_TEMPORARY):
                        yield f"{found.path}/{name}"[1:], about.st_mtime_ns
