"""Changes of the host: directories, files, links and commands as values that check and apply themselves."""

import grp
import os
import pwd
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from units.changes.manifest import ResourceKind
from units.system import disk, layout
from units.system.accounts import find_group, find_user
from units.system.run import run

DAEMON_RELOAD: Final = ("systemctl", "daemon-reload")
RESTART_RECEIVER: Final = ("systemctl", "restart", "hookd.service")
RUN_SECONDS: Final = 120

Created = list[tuple[ResourceKind, str]]
# What happens to an existing file or directory: the whole change is made, or only its owner and mode, or nothing.
Existing = Literal["correct", "keep text", "keep"]
# What `hookd uninstall` and `hookd app remove` do with it. "keep" is for places that hold the app's own data.
Removal = Literal["delete", "keep"]


class Change(ABC):
    """One thing that must stand on the host, or one command."""

    @abstractmethod
    def is_present(self) -> bool:
        """Return True if there is nothing to do."""

    @abstractmethod
    def apply(self) -> None:
        """Do it. Raises CommandFailed, UnsafePath, OSError."""

    def creates(self) -> Created:
        """Return the resources that `apply` will create. Existing ones are not hookd's."""
        return []

    def mismatch(self) -> str:
        """Describe a change that is not present."""
        return f"{self} is missing"


Changes = tuple[Change, ...]


@dataclass(frozen=True)
class Directory(Change):
    """A directory with its owner and mode."""

    path: Path
    owner: str
    group: str
    mode: int
    removal: Removal = "delete"
    existing: Existing = "correct"

    def is_present(self) -> bool:
        if self.existing == "keep" and self.path.is_dir():
            return True
        found = disk.status(self.path)
        return found is not None and stat.S_ISDIR(found.st_mode) and _is_owned(self, found)

    def apply(self) -> None:
        disk.make_directory(self.path, _owner(self))

    def creates(self) -> Created:
        if disk.status(self.path) is not None:
            return []
        return [("directory" if self.removal == "delete" else "kept directory", str(self.path))]

    def mismatch(self) -> str:
        return _mismatch(self)

    def __str__(self) -> str:
        return f"directory  {self.path}  {_rights(self)}{_unless_present(self.existing)}"


@dataclass(frozen=True)
class File(Change):
    """A file with its text, owner and mode.

    `check` is a command that must accept the new text before it is put in place. The new file's path is added to it.
    """

    path: Path
    text: str = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    existing: Existing = "correct"
    removal: Removal = "delete"
    check: tuple[str, ...] = ()

    def is_present(self) -> bool:
        found = disk.status(self.path)
        if found is None or not stat.S_ISREG(found.st_mode):
            return False
        if self.existing == "keep":
            return True
        is_same = self.existing == "keep text" or disk.read(self.path) == self.text.encode()
        return is_same and _is_owned(self, found)

    def apply(self) -> None:
        kept = None if self.existing == "correct" else disk.read(self.path)
        disk.write(self.path, self.text.encode() if kept is None else kept, _owner(self), self._run_check)

    def _run_check(self, path: str) -> None:
        if self.check:
            run((*self.check, path))

    def creates(self) -> Created:
        return [("file", str(self.path))] if self.removal == "delete" else []

    def mismatch(self) -> str:
        if self.existing == "correct" and disk.read(self.path) not in (None, self.text.encode()):
            return f"{self.path} has another text"
        return _mismatch(self)

    def __str__(self) -> str:
        return f"file       {self.path}  {_rights(self)}{_unless_present(self.existing)}"


@dataclass(frozen=True)
class Link(Change):
    path: Path
    target: Path

    def is_present(self) -> bool:
        return disk.read_link(self.path) == self.target

    def apply(self) -> None:
        disk.link(self.path, self.target)

    def creates(self) -> Created:
        return [("link", str(self.path))]

    def mismatch(self) -> str:
        return f"{self.path} does not point to {self.target}"

    def __str__(self) -> str:
        return f"link       {self.path} -> {self.target}"


@dataclass(frozen=True)
class Absent(Change):
    """A file or link of hookd's that must not exist."""

    path: Path

    def is_present(self) -> bool:
        return disk.status(self.path) is None

    def apply(self) -> None:
        disk.remove(self.path)

    def __str__(self) -> str:
        return f"remove     {self.path}"


@dataclass(frozen=True)
class Run(Change):
    """A command as root, with its reason in a few words.

    With `after` it runs only after a change at or below one of these paths. A change of an interrupted earlier run
    counts too. `seconds` is its limit.
    """

    argv: tuple[str, ...]
    why: str
    after: tuple[Path, ...] = ()
    seconds: int = RUN_SECONDS

    def is_present(self) -> bool:
        return False

    def apply(self) -> None:
        run(self.argv, seconds=self.seconds)

    def is_triggered_by(self, change: Change) -> bool:
        """Return True if this change makes the command necessary."""
        path: Path | None = getattr(change, "path", None)
        return path is not None and any(path.is_relative_to(place) for place in self.after)

    def __str__(self) -> str:
        return f"run        {' '.join(self.argv)}   ({self.why})"


def drop_in_directories(files: tuple[File | Link, ...]) -> tuple[Directory, ...]:
    """Return the directories for drop-ins of units."""
    parents = dict.fromkeys(file.path.parent for file in files if file.path.parent.parent == layout.SYSTEMD)
    return tuple(Directory(path, "root", "root", 0o755, removal="keep") for path in parents)


def nginx_reload_commands() -> list[Change]:
    """Return the commands that check nginx's files and load them without a dropped connection."""
    return [
        Run(("nginx", "-t", "-q"), "nginx checks its files", after=(layout.NGINX,)),
        Run(("systemctl", "reload-or-restart", "nginx.service"), "nginx loads them", after=(layout.NGINX,)),
    ]


def _rights(change: Directory | File) -> str:
    return f"{change.owner}:{change.group} {change.mode:04o}"


def _mismatch(change: Directory | File) -> str:
    return (
        f"{change.path} is missing" if disk.status(change.path) is None else f"{change.path} is not {_rights(change)}"
    )


def _unless_present(existing: Existing) -> str:
    return "" if existing == "correct" else ", unless it is there"


def _owner(change: Directory | File) -> disk.Owner:
    return disk.Owner(pwd.getpwnam(change.owner).pw_uid, grp.getgrnam(change.group).gr_gid, change.mode)


def _is_owned(change: Directory | File, found: os.stat_result) -> bool:
    """Return True if owner, group and mode are the step's. A missing user or group is a difference."""
    return bool(find_user(change.owner) and find_group(change.group)) and _owner(change).fits(found)
