"""Which apps are frozen: one file each, beside the catalogue, so that it holds whatever happens to Redis.

Only who may change the catalogue can write here. Receiver, worker and everybody else read.
"""

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from hookd.files.safe_open import sync_directory
from hookd.model.decision import Verdict
from hookd.model.eligibility import Freeze, remedy


def read_freeze(directory: Path, app: str) -> Freeze | None:
    """Read an app's file, also one whose time is over; raises OSError, and ValueError when it is no freeze."""
    try:
        return Freeze.model_validate_json((directory / app).read_bytes())
    except FileNotFoundError:
        return None


def active_freeze(directory: Path, app: str, now: datetime) -> Freeze | None:
    """Read the freeze of an app that holds now.

    A file that cannot be read freezes, too: somebody wanted it, and its words are no reason to deploy.
    """
    try:
        freeze = read_freeze(directory, app)
    except (OSError, ValidationError) as error:
        return Freeze(reason=f"its file {directory / app} cannot be read ({type(error).__name__})", since=now)
    return freeze if freeze is not None and freeze.is_in_force(now) else None


def freeze(directory: Path, app: str, wanted: Freeze) -> None:
    """Freeze an app, or change why and until when, and wait until that is on disk; raises OSError."""
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


def thaw_command(directory: Path, app: str) -> str:
    """What a person types to end an app's freeze: on a server, where the directory is root's, with sudo.

    Who is root without sudo needs none.
    """
    try:
        is_roots = directory.stat().st_uid == 0
    except OSError:
        is_roots = True
    needs_sudo = is_roots and (os.geteuid() != 0 or "SUDO_USER" in os.environ)
    return remedy(Verdict.FROZEN, app, "sudo hookd" if needs_sudo else "hookd")


def thaw(directory: Path, app: str) -> bool:
    """Let an app be deployed again; tells whether it was frozen. Raises OSError."""
    try:
        (directory / app).unlink()
        sync_directory(directory)
    except FileNotFoundError:
        return False
    return True
