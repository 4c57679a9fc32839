"""The files of a commit, read from a git repository by two git processes that run none of its configuration."""

import codecs
import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

from units.system.run import CommandFailed, run_bytes, started

MAX_BYTES: Final = 1 << 20
_MAX_TOTAL: Final = 32 << 20
_MAX_PATHS: Final = 100_000
_MAX_DEPTH: Final = 20
_SECONDS: Final = 20
# No system or user configuration, no replaced objects, and no fetch of a missing object over any protocol.
_ENVIRONMENT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
}
_COMMIT: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,250}")
_REGULAR: Final = re.compile(rb"100(?:644|755) blob ([0-9a-f]{40,64}) +(\d+)\t(.+)", re.DOTALL)
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Unreadable(Exception):
    """The repository or the commit cannot be read."""


class Tree:
    """The regular files of a commit, without links and submodules."""

    def __init__(
        self, sizes: Mapping[str, int], load: Callable[[str], bytes | None], date: datetime.date | None = None
    ) -> None:
        self.date = date
        self.paths: tuple[str, ...] = tuple(sorted(sizes))
        self._sizes = sizes
        self._load = load
        self._texts: dict[str, str | None] = {}
        self._left = _MAX_TOTAL

    @classmethod
    def of(cls, files: Mapping[str, str], date: datetime.date | None = None) -> Self:
        """Return a tree of these texts, committed on a date."""
        blobs = {path: text.encode() for path, text in files.items()}
        return cls({path: len(blob) for path, blob in blobs.items()}, blobs.get, date)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes, or 0 if it is missing."""
        return self._sizes.get(path, 0)

    def read(self, path: str) -> str | None:
        """Return a file's text, or None if it is missing, too large or no text."""
        if path not in self._texts:
            self._texts[path] = self._decoded(path)
        return self._texts[path]

    def _decoded(self, path: str) -> str | None:
        size = self._sizes.get(path)
        if size is None or size > min(MAX_BYTES, self._left):
            return None
        self._left -= size
        return _decode(self._load(path))


def _decode(blob: bytes | None) -> str | None:
    if blob is None:
        return None
    encoding = next((name for mark, name in _MARKS if blob.startswith(mark)), "utf-8")
    try:
        text = blob.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


@contextmanager
def open_tree(repository: Path, commit: str) -> Iterator[Tree]:
    """Open the files of a commit of a repository, bare or not. Raises Unreadable."""
    if not _COMMIT.fullmatch(commit):
        raise Unreadable(f"{commit!r} is no commit")
    git_directory = repository / ".git"
    # An explicit directory of git needs no owner that git trusts.
    git = ("git", f"--git-dir={git_directory if git_directory.exists() else repository}")
    objects, sizes = _list(git, commit)
    with started((*git, "cat-file", "--batch"), seconds=_SECONDS, extra=_ENVIRONMENT) as (requests, answers):
        yield Tree(sizes, lambda path: _blob(requests, answers, objects[path]), _date(git, commit))


def _date(git: tuple[str, ...], commit: str) -> datetime.date | None:
    """Return the day of a commit, or None for one that no calendar has."""
    argv = (*git, "show", "--no-patch", "--format=%cs", f"{commit}^{{commit}}")
    try:
        return datetime.date.fromisoformat(run_bytes(argv, seconds=_SECONDS, extra=_ENVIRONMENT).decode().strip())
    except (CommandFailed, ValueError):
        return None


def _list(git: tuple[str, ...], commit: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return the object of each regular file, and its size."""
    argv = (*git, "ls-tree", "-r", "-z", "-l", "--full-tree", f"{commit}^{{commit}}")
    try:
        output = run_bytes(argv, seconds=_SECONDS, extra=_ENVIRONMENT)
    except CommandFailed as error:
        raise Unreadable(str(error)) from None
    objects: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for line in output.split(b"\0"):
        if (entry := _REGULAR.fullmatch(line)) and (path := _path(entry[3])):
            objects[path], sizes[path] = entry[1].decode(), int(entry[2])
        if len(objects) >= _MAX_PATHS:
            break
    return objects, sizes


def _path(name: bytes) -> str | None:
    """Return a path that a person can read, or None."""
    try:
        path = name.decode()
    except UnicodeDecodeError:
        return None
    return path if path.isprintable() and path.count("/") < _MAX_DEPTH else None


def _blob(requests: IO[bytes], answers: IO[bytes], name: str) -> bytes | None:
    """Ask `git cat-file --batch` for an object, and return None if it is missing. Raises Unreadable."""
    try:
        requests.write(f"{name}\n".encode())
        requests.flush()
        words = answers.readline().split()
        if len(words) != 3:
            return None
        blob = answers.read(int(words[2]) + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"git cat-file ended: {error}") from None
    return blob[:-1]
