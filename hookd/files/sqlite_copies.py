"""Copies of SQLite files: `save` prints them as a tar stream, and `load` reads this stream and puts them back.

`python -m hookd.files.sqlite_copies save|load DIRECTORY...` runs as the app's user. SQLite's backup API makes a copy of
one moment, also while the app writes, and with changes that only the write-ahead log holds.
"""

import os
import shutil
import sqlite3
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG
from tempfile import TemporaryDirectory
from typing import IO, Final
from urllib.parse import quote

_HEADER: Final = b"SQLite format 3\0"
# On disk, also where /tmp is memory.
_TEMPORARY: Final = "/var/tmp"  # noqa: S108 - A new directory there.
_LOCK_SECONDS: Final = 60.0
# Without a write-ahead log a copy blocks writers. They get a turn after each step, until the copy takes too long.
_STEP_PAGES: Final = 4096
_PAUSE_SECONDS: Final = 0.02
_STEPS_SECONDS: Final = 60.0
_UNREADABLE: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_SIDE_FILES: Final = ("-journal", "-wal", "-shm")


class _CopyFailed(Exception):
    """A file cannot be copied. The text has its path and the cause."""


class _TooSlow(Exception):
    """Writers interrupt the steps of a copy again and again."""


def save(directories: Iterable[Path], out: IO[bytes]) -> None:
    """Write a copy of each SQLite file below the directories to a stream. Raises _CopyFailed and OSError."""
    places, number = tuple(directories), 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in _databases(places):
            with TemporaryDirectory(prefix="hookd-", dir=_TEMPORARY) as place:
                copy = Path(place, "copy")
                if _copied(path, copy):
                    _append(archive, path, copy)
                    number += 1
    if not number:
        _note(f"warning: no SQLite file lies in {', '.join(map(str, places)) or 'a shared directory'}")


def load(directories: Iterable[Path], source: IO[bytes]) -> None:
    """Put the files of a stream back. Files that it lacks stay. Raises _CopyFailed, OSError and tarfile.TarError."""
    places, number = tuple(directories), 0
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            target = Path("/", member.name)
            content = archive.extractfile(member)
            if content is None or ".." in target.parts or not any(target.is_relative_to(place) for place in places):
                raise _CopyFailed(f"{target} is not in the app's directories")
            _put_back(content, member.mode, target)
            _note(f"restored {target}")
            number += 1
    if not number:
        raise _CopyFailed("this backup holds no file")


def _databases(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the SQLite files below directories, without following a link."""
    for directory in directories:
        for parent, _, names in os.walk(directory, onerror=lambda error: _note(f"not copied: {error}")):
            for path in (Path(parent, name) for name in sorted(names)):
                try:
                    if _is_database(path):
                        yield path
                except OSError as error:
                    _note(f"not copied: {error}")


def _is_database(path: Path) -> bool:
    """Return True for a regular file with SQLite's header."""
    if not S_ISREG(path.lstat().st_mode):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, len(_HEADER), 0) == _HEADER
    finally:
        os.close(descriptor)


def _copied(path: Path, copy: Path) -> bool:
    """Copy a file, and return False if the app removed it meanwhile. A damaged one is copied as it is.

    Anybody may upload a file with SQLite's header, and so a damaged one must not stop the backup.
    """
    try:
        with closing(_connect(path)) as original, closing(_connect(copy, new=True)) as target:
            _copy_pages(original, target, in_steps=_pragma(original, "journal_mode") != "wal")
    except sqlite3.Error as error:
        if not path.exists():
            return False
        if not _is_unreadable(error):
            raise _CopyFailed(f"{path}: {error}") from None
        _note(f"{path}: {error}; copied as it is")
        shutil.copyfile(path, copy)
    return True


def _copy_pages(original: sqlite3.Connection, target: sqlite3.Connection, *, in_steps: bool) -> None:
    end = time.monotonic() + _STEPS_SECONDS

    def pause(_status: int, _remaining: int, _total: int) -> None:
        if time.monotonic() > end:
            raise _TooSlow
        time.sleep(_PAUSE_SECONDS)

    if in_steps:
        with suppress(_TooSlow):
            original.backup(target, pages=_STEP_PAGES, progress=pause)
            return
    original.backup(target)


def _append(archive: tarfile.TarFile, path: Path, copy: Path) -> None:
    member = tarfile.TarInfo(str(path).lstrip("/"))
    member.size, member.mtime = copy.stat().st_size, int(time.time())
    member.mode = S_IMODE(path.stat().st_mode)
    with copy.open("rb") as content:
        archive.addfile(member, content)
    _note(f"copied {path} ({member.size:,} bytes)")


def _put_back(content: IO[bytes], mode: int, target: Path) -> None:
    """Write a file beside its target first, then replace the target's content in one transaction."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.hookd-restore")
    try:
        with aside.open("wb") as file:
            shutil.copyfileobj(content, file)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        if not (target.is_file() and _overwritten(target, aside)):
            # A write-ahead log that stays would change the restored file.
            for suffix in _SIDE_FILES:
                target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
            aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _overwritten(target: Path, aside: Path) -> bool:
    """Replace the content of a database, also while others have it open. Return False if one of them is damaged."""
    try:
        with closing(_connect(aside)) as source, closing(_connect(target)) as changed:
            if _pragma(source, "page_size") != _pragma(changed, "page_size"):
                changed.execute("PRAGMA journal_mode = DELETE")  # A write-ahead log fixes the size of pages.
            source.backup(changed)
    except sqlite3.Error as error:
        if not _is_unreadable(error):
            raise _CopyFailed(f"{target}: {error}") from None
        return False
    return True


def _connect(path: Path, *, new: bool = False) -> sqlite3.Connection:
    url = f"file:{quote(os.fsencode(path))}?mode={'rwc' if new else 'rw'}"
    return sqlite3.connect(url, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)


def _pragma(connection: sqlite3.Connection, name: str) -> str:
    return str(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_unreadable(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _UNREADABLE


def _note(text: str) -> None:
    """Print a line beside the stream."""
    sys.stderr.write(f"{text}\n")  # Its error handler is backslashreplace.
    sys.stderr.flush()


def main(verb: str, *directories: str) -> int:
    """Save or load, and return the status for the shell."""
    places = [Path(directory) for directory in directories]
    try:
        if verb == "save":
            save(places, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            load(places, sys.stdin.buffer)
    except _CopyFailed as error:
        _note(str(error))
        return 1
    except (OSError, tarfile.TarError) as error:
        _note(f"the copies cannot be {'written' if verb == 'save' else 'read'}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
