"""What is to stand on the host, as values: a plan is a row of steps that can be shown, compared and carried out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from units.system import layout

NOLOGIN: Final = "/usr/sbin/nologin"
DAEMON_RELOAD: Final = ("systemctl", "daemon-reload")
RESTART_RECEIVER: Final = ("systemctl", "restart", "hookd.service")


@dataclass(frozen=True)
class Group:
    """A system group."""

    name: str

    def __str__(self) -> str:
        return f"group      {self.name}"


@dataclass(frozen=True)
class User:
    """A system user nobody can log in as; it is also made a member of `groups`."""

    name: str
    group: str
    home: Path
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f", member of {', '.join(self.groups)}" if self.groups else ""
        return f"user       {self.name} (group {self.group}, no login{more})"


@dataclass(frozen=True)
class Directory:
    """A directory; `keep` leaves it in place when hookd goes, as it holds what is not hookd's.

    `once` leaves one that is there already as it is, whoever owns it.
    """

    path: Path
    owner: str
    group: str
    mode: int
    keep: bool = False
    once: bool = False

    def __str__(self) -> str:
        once = ", unless it is there" if self.once else ""
        return f"directory  {self.path}  {self.owner}:{self.group} {self.mode:04o}{once}"


@dataclass(frozen=True)
class File:
    """A file; `once` keeps what stands there already, `keep` leaves it in place when hookd goes.

    `owned` puts owner and mode right also where `once` keeps the text.
    `check` is a command that must accept the new text, in a file whose path is added to it, before it is put in place.
    """

    path: Path
    text: str = field(repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    once: bool = False
    owned: bool = False
    keep: bool = False
    check: tuple[str, ...] = ()

    def __str__(self) -> str:
        once = ", unless it is there" if self.once else ""
        return f"file       {self.path}  {self.owner}:{self.group} {self.mode:04o}{once}"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: Path
    target: Path

    def __str__(self) -> str:
        return f"link       {self.path} -> {self.target}"


@dataclass(frozen=True)
class Absent:
    """A file or link of hookd's own that is not to be there any more."""

    path: Path

    def __str__(self) -> str:
        return f"remove     {self.path}"


@dataclass(frozen=True)
class Run:
    """A command as root, `why` in a few words.

    With `after` it is only run when something at or below one of these paths was changed, in this round or in an
    earlier one that was cut off before it came to run it.
    """

    argv: tuple[str, ...]
    why: str
    after: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"run        {' '.join(self.argv)}   ({self.why})"


Step = Group | User | Directory | File | Link | Absent | Run
Plan = tuple[Step, ...]


def drop_in_directories(files: tuple[File | Link, ...]) -> tuple[Directory, ...]:
    """The directories that drop-ins of units need."""
    parents = dict.fromkeys(file.path.parent for file in files if file.path.parent.parent == layout.SYSTEMD)
    return tuple(Directory(path, "root", "root", 0o755, keep=True) for path in parents)


def nginx_reload_steps() -> list[Step]:
    """nginx checks its files, then takes them up without a dropped connection."""
    return [
        Run(("nginx", "-t", "-q"), "nginx checks its files", after=(layout.NGINX,)),
        Run(("systemctl", "reload-or-restart", "nginx.service"), "nginx takes them up", after=(layout.NGINX,)),
    ]
