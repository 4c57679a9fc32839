"""Frozen apps: one file each beside the catalogue, which survives the loss of Redis.

An account that may change the catalogue may also write here. All other accounts read.
"""

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from hookd.files.safe_open import sync_directory
from hookd.model.eligibility import Freeze
from hookd.model.hint import Hint, HintKind, render_hint


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
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=f".{app}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(wanted.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, directory / app)
        sync_directory(directory)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def thaw_hint(directory: Path) -> Hint:
    """Return the hint that thaws an app, with sudo if root owns the directory and the caller is not root."""
    try:
        is_roots = directory.stat().st_uid == 0
    except OSError:
        is_roots = True
    needs_sudo = is_roots and (os.geteuid() != 0 or "SUDO_USER" in os.environ)
    return Hint(HintKind.THAW_AS_ROOT if needs_sudo else HintKind.THAW)


def thaw_command(directory: Path, app: str) -> str:
    """Return the command that thaws an app."""
    return render_hint(thaw_hint(directory), app)


def thaw(directory: Path, app: str) -> bool:
    """Remove an app's freeze. Return False if there was none. Raises OSError."""
    try:
        (directory / app).unlink()
        sync_directory(directory)
    except FileNotFoundError:
        return False
    return True
