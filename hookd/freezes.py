"""Frozen apps: one file each beside the catalogue, which survives the loss of Redis.

An account that may change the catalogue may also write here. All other accounts read.
"""

import os
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from hookd.files.safe_open import sync_directory
from hookd.model.decision import Freeze


def read_freeze(directory: Path, app: str) -> Freeze | None:
    """Return an app's freeze, also one that has ended. Raises OSError, and ValueError for an invalid file."""
    try:
        return Freeze.model_validate_json((directory / app).read_bytes())
    except FileNotFoundError:
        return None


def active_freeze(directory: Path, app: str, now: datetime) -> Freeze | None:
    """Return the freeze that is in force now. An unreadable file also freezes the app."""
    try:
        freeze = read_freeze(directory, app)
    except (OSError, ValidationError) as error:
        return Freeze(reason=f"its file {directory / app} cannot be read ({type(error).__name__})", since=now)
    return freeze if freeze is not None and freeze.is_in_force(now) else None


def freeze(directory: Path, app: str, wanted: Freeze) -> None:
    """Write an app's freeze and wait until it is on disk. Raises OSError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = directory / f".{app}.new"
    with new.open("w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(wanted.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, directory / app)
    sync_directory(directory)


def thaw(directory: Path, app: str) -> bool:
    """Remove an app's freeze. Return False if there was none. Raises OSError."""
    try:
        (directory / app).unlink()
        sync_directory(directory)
    except FileNotFoundError:
        return False
    return True
