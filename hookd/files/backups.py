"""The backups of an app: a directory with one file per backup, named after the release that it was made for.

`python -m hookd.files.backups keep|discard DIRECTORY …` is root's part in the unit of a backup.
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Final

from hookd.files.safe_open import open_path, sync_directory
from hookd.model.ids import is_release
from hookd.model.units.backup import CLEAN, BackupKind

# The backup that is being made.
NEW: Final = ".new"
# The backup that a restore reads, and what the restore prints.
RESTORED: Final = ".restored"
RESTORE_OUTPUT: Final = ".output"
# The last line of root's part, before a reason and before the directory of a full disk.
REFUSED: Final = "refused: "
FULL: Final = "full: "
_ENDS: Final[dict[BackupKind, str]] = {"sqlite": ".sqlite.tar", "command": ".backup"}
_FULL_BELOW: Final = 1024 * 1024
_RELEASES: Final = "releases/"


class BackupRefused(Exception):
    """The new file is no complete backup. The text says why."""


class DiskFull(BackupRefused):
    """The disk of the backups has no space left."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"no space is left in {directory}")


@dataclass(frozen=True)
class Backup:
    """One backup. `release` is the release whose commands ran next, `made_at` the end of the backup."""

    path: Path
    release: str
    kind: BackupKind
    size: int
    made_at: datetime


def list_backups(directory: Path) -> list[Backup]:
    """Return the backups in a directory, the newest first. Raises OSError."""
    if not directory.exists():
        return []
    found = [backup for path in directory.iterdir() if (backup := _read(path))]
    return sorted(found, key=lambda backup: (backup.made_at, backup.release), reverse=True)


def _read(path: Path) -> Backup | None:
    for kind, end in _ENDS.items():
        release, status = path.name.removesuffix(end), path.lstat()
        if is_release(release) and path.name.endswith(end) and S_ISREG(status.st_mode):
            return Backup(path, release, kind, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    return None


def keep_backup(directory: Path, release: str, kind: BackupKind, number: int, clean: str = "") -> None:
    """Keep the new file as the backup for a release, and remove all but the newest `number` and `clean`.

    Raises BackupRefused and OSError.
    """
    _finish(directory / NEW)
    kept = directory / f"{release}{_ENDS[kind]}"
    (directory / NEW).replace(kept)
    sync_directory(directory)
    others = [backup for backup in list_backups(directory) if backup.path != kept]
    for old in others[number - 1 :]:
        if old.release != clean:
            old.path.unlink()


def _finish(new: Path) -> None:
    """Write the new file through to the disk. Raises BackupRefused."""
    descriptor = os.open(new, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        if os.fstat(descriptor).st_size == 0:
            raise BackupRefused("the backup is empty")
        if is_full(new.parent):  # Some programs do not notice it.
            raise DiskFull(new.parent)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(directory: Path) -> None:
    """Remove the new file, if there is one. Raises DiskFull if it had filled its disk."""
    new = directory / NEW
    was_full = new.exists() and is_full(directory)
    new.unlink(missing_ok=True)
    if was_full:
        raise DiskFull(directory)


def is_full(directory: Path) -> bool:
    """Return True if a directory's disk has no space for other users than root."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize < _FULL_BELOW


def _next_release(root: Path) -> str:
    """Return the release that the link `next` of an app leads to. Raises OSError."""
    with open_path(root) as top:
        release = os.readlink("next", dir_fd=top).removeprefix(_RELEASES)
    if not is_release(release):
        raise OSError(f"{root}/next leads to no release")
    return release


def clean_backup(root: Path) -> str:
    """Return the backup from before release commands that have not ended well, or "". Raises OSError."""
    with open_path(root) as top, suppress(FileNotFoundError):
        return os.readlink(CLEAN, dir_fd=top)
    return ""


def main(verb: str, directory: str, *more: str) -> int:
    """Keep or discard the new file, print why it was refused, and return the status for systemd."""
    try:
        if verb == "discard":
            discard(Path(directory))
        else:
            root, kind, number = more
            release = _next_release(Path(root))
            stored: BackupKind = "sqlite" if kind == "sqlite" else "command"
            keep_backup(Path(directory), release, stored, int(number), clean_backup(Path(root)))
    except DiskFull:
        sys.stdout.write(f"{FULL}{directory}\n")
        return 1
    except (BackupRefused, OSError) as error:
        sys.stdout.write(f"{REFUSED}{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
