"""Read the files of a commit: none outside of its release, none without a limit, and a malformed one refuses it."""

import hashlib
import os
import re
import tomllib
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from hookd.files.safe_open import descriptor_path
from hookd.model.text import printable
from worker.errors import CommitRefused, DeployError

PYPROJECT: Final = "pyproject.toml"
# Room for the lock of a large project.
_MAX_BYTES: Final = 4 * 1024 * 1024
# Parsing takes up to a second for each MiB.
_MAX_ALL_BYTES: Final = 2 * _MAX_BYTES
_MAX_SHOWN: Final = 120
_MAX_DOTS: Final = 50
# tomllib keeps each beginning of a dotted key.
_LONG_KEY: Final = re.compile(
    rf"""^[ \t]*+\[{{0,2}}+(?:[ \t]*+(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.){{{_MAX_DOTS + 1}}}""",
    re.MULTILINE,
)
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CommitFiles:
    """The files of a release, each read once.

    A link of the commit may lead into the app's shared data, where the app can lead it to any file of the worker.
    """

    def __init__(self, release: Path) -> None:
        self.release = release
        self.top = Path(os.path.realpath(release))
        self._contents: dict[Path, bytes] = {}
        self._tables: dict[Path, dict[str, Any]] = {}
        self._left = _MAX_ALL_BYTES

    def find(self, path: Path) -> Path | None:
        """Return a path without links, where nothing needs to be, or None if it leads out of the release."""
        place = Path(os.path.realpath(path))
        return place if place.is_relative_to(self.top) else None

    def resolve(self, path: Path) -> Path:
        """Return a path without links. Raises CommitRefused if it leads out of the release."""
        place = self.find(path)
        if place is None:
            raise CommitRefused(f"{path.name} leads to a file that is not in the commit")
        return place

    def has(self, path: Path) -> bool:
        """Return True if a path leads to a file. Raises CommitRefused if it leads out of the release."""
        return os.path.isfile(self.resolve(path))  # noqa: PTH113 - That of Path raises for a name that is too long.

    def read(self, path: Path) -> bytes:
        """Return the content of a file. Raises CommitRefused."""
        place = self.resolve(path)
        if place not in self._contents:
            with self._open(place) as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise CommitRefused(f"{path.name} exceeds {_MAX_BYTES // 1024**2} MiB")
            self._left -= len(content)
            if self._left < 0:
                raise CommitRefused(f"the files that list packages exceed {_MAX_ALL_BYTES // 1024**2} MiB")
            self._contents[place] = content
        return self._contents[place]

    def text(self, path: Path) -> str:
        """Return a file as text. Raises CommitRefused."""
        return self.read(path).decode("utf-8", "replace")

    def toml(self, path: Path) -> dict[str, Any]:
        """Return the table of a TOML file. Raises CommitRefused."""
        place = self.resolve(path)
        if place not in self._tables:
            self._tables[place] = _parse(path.name, self.read(path))
        return self._tables[place]

    def project(self, directory: Path) -> dict[str, Any]:
        """Return pyproject.toml of a directory, empty if there is none. Raises CommitRefused."""
        path = directory / PYPROJECT
        return self.toml(path) if self.has(path) else {}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file of any size. Raises CommitRefused."""
        with self._open(self.resolve(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _open(self, place: Path) -> BufferedReader:
        """Open a regular file by its resolved path. Raises CommitRefused, or DeployError for a fault of the host."""
        if not os.path.isfile(place):  # noqa: PTH113
            raise CommitRefused(f"{place.name} is no file of the commit")
        try:
            file = os.fdopen(os.open(place, _FLAGS), "rb")
        except OSError as error:
            raise DeployError(f"{place.name} cannot be read: {error.strerror}") from None
        # The app may have put a link into the path since it was resolved.
        opened = os.readlink(descriptor_path(file.fileno()))
        if opened == str(place) and S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        raise CommitRefused(f"{place.name} is no file of the commit")


def malformed(name: str, error: Exception) -> CommitRefused:
    """Return the error of a file whose content has another form than its name promises."""
    if isinstance(error, RecursionError):
        return CommitRefused(f"{name} is nested too deeply")
    return CommitRefused(f"{name} is malformed: {printable(str(error))[:_MAX_SHOWN]}")


def _parse(name: str, content: bytes) -> dict[str, Any]:
    try:
        text = content.decode("utf-8")
        if _LONG_KEY.search(text):
            raise CommitRefused(f"{name} has a key of more than {_MAX_DOTS} dots")
        return tomllib.loads(text)
    except RecursionError as error:
        raise malformed(name, error) from None
    except ValueError as error:
        raise CommitRefused(f"{name} is not TOML: {printable(str(error))[:_MAX_SHOWN]}") from None
