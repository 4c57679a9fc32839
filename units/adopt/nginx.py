"""Changes of nginx's files, applied and reverted as a whole, checked by nginx itself."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from units.adopt.discovery.listeners import children
from units.adopt.state import Adoption
from units.system import disk
from units.system.errors import HostError
from units.system.run import CommandFailed, run
from units.system.systemd import read_units

_UNIT: Final = "nginx.service"
_RELOAD_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.05


def apply_changes(adoption: Adoption) -> None:
    """Write the new files and reload nginx. Raises HostError, and CommandFailed after restoring the old files."""
    for change in adoption.changes:
        if _read_text(change.path) not in (change.before, change.after):
            raise HostError(f"{change.path} changed during the adoption")
    _replace_files({change.path: change.after for change in adoption.changes})


def revert_changes(adoption: Adoption) -> list[Path]:
    """Restore the old files and reload nginx. Return files changed by others, which stay. Raises CommandFailed."""
    _replace_files(
        {change.path: change.before for change in adoption.changes if _read_text(change.path) == change.after}
    )
    return [change.path for change in adoption.changes if _read_text(change.path) != change.before]


def _replace_files(texts: Mapping[Path, str]) -> None:
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
        raise HostError(f"{path} was removed")
    owner = disk.Owner(found.st_uid, found.st_gid, found.st_mode & 0o7777)
    disk.write(path, text.encode(errors="surrogateescape"), owner)


def _reload() -> None:
    """Reload nginx if it runs, and wait at most 60 s for its old workers to finish their requests."""
    unit = read_units([_UNIT])[_UNIT]
    if not unit.is_up:
        return
    old_workers = children(unit.process)
    run(("systemctl", "reload", _UNIT))
    end = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < end and any(os.path.exists(f"/proc/{process}") for process in old_workers):
        time.sleep(_PAUSE_SECONDS)
