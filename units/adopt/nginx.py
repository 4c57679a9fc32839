"""Leads nginx to the new place and back: files kept first, checked by nginx itself, old workers waited for."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from units.adopt.discovery.listeners import children
from units.adopt.state import Adoption
from units.adopt.systemd import is_active
from units.system import disk
from units.system.errors import HostError
from units.system.run import CommandFailed, run

_RELOAD_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.05


def apply_changes(adoption: Adoption) -> None:
    """Change the files and let nginx take them up; raises HostError, and CommandFailed with the old files back."""
    for change in adoption.changes:
        if _read_text(change.path) not in (change.before, change.after):
            raise HostError(f"{change.path} was changed meanwhile")
    _replace_files({change.path: change.after for change in adoption.changes})


def revert_changes(adoption: Adoption) -> list[Path]:
    """Undo that; returns the files that somebody has changed since, which are left alone. Raises CommandFailed."""
    _replace_files(
        {change.path: change.before for change in adoption.changes if _read_text(change.path) == change.after}
    )
    return [change.path for change in adoption.changes if _read_text(change.path) != change.before]


def _replace_files(texts: Mapping[Path, str]) -> None:
    """Put texts in place, all or none of them."""
    before = {path: text for path in texts if (text := _read_text(path)) is not None}
    if before == texts:
        return
    for path, text in texts.items():
        _write(path, text)
    try:
        run(("nginx", "-t", "-q"))
    except CommandFailed:
        for path, text in before.items():
            _write(path, text)
        raise
    _reload()


def _read_text(path: Path) -> str | None:
    content = disk.read(path)
    return None if content is None else content.decode(errors="surrogateescape")


def _write(path: Path, text: str) -> None:
    found = disk.status(path)
    if found is None:
        raise HostError(f"{path} is gone")
    owner = disk.Owner(found.st_uid, found.st_gid, found.st_mode & 0o7777)
    disk.write(path, text.encode(errors="surrogateescape"), owner)


def _reload() -> None:
    """Reload, and wait until the workers that know the old files have ended their requests, or long enough.

    An nginx that somebody stopped stays stopped.
    """
    if not is_active("nginx.service"):
        return
    first = int(run(("systemctl", "show", "--property=MainPID", "--value", "nginx.service")).strip() or 0)
    old = set(children(first))
    run(("systemctl", "reload", "nginx.service"))
    end = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < end and any(os.path.exists(f"/proc/{process}") for process in old):
        time.sleep(_PAUSE_SECONDS)
