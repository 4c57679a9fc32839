"""Changes of nginx's files, applied and reverted as a whole, checked by nginx itself."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from units.adopt.discovery.service import children
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
    own = [change for change in adoption.changes if _read_text(change.path) in (change.before, change.after)]
    _replace_files({change.path: change.before for change in own})
    return [change.path for change in adoption.changes if change not in own]


def _replace_files(texts: Mapping[Path, str]) -> None:
    """Write files and reload nginx, also if they are written already, because an interrupted run may not have."""
    if not texts:
        return
    before = {path: _read_text(path) for path in texts}
    try:
        _write(texts)
        run(("nginx", "-t", "-q"))
    except CommandFailed:
        _write(before)
        raise
    _reload()


def _read_text(path: Path) -> str:
    return (disk.read(path) or b"").decode(errors="surrogateescape")


def _write(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        found = path.stat()
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
