"""Webhook secrets on disk: made, shown, and rotated so that the old one stays valid until the sender knows the new."""

import secrets
from typing import Final

from units.plan.manifest import Manifest
from units.plan.steps import RESTART_RECEIVER
from units.system import disk, layout
from units.system.errors import HostError
from units.system.run import run

_BYTES: Final = 32


def new_secret() -> str:
    """Make a secret: 64 hexadecimal digits, which every sender's form takes."""
    return secrets.token_hex(_BYTES)


def current(app: str) -> list[str]:
    """Read an app's secrets, the newest last."""
    content = disk.read(layout.app_secret(app)) or b""
    return [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]


def rotate(app: str, manifest: Manifest) -> str:
    """Add a new secret beside the one that is valid, and return it; raises HostError while a rotation is under way.

    One that was cut off before the receiver knew the new secret goes on.
    """
    valid = current(app)
    if len(valid) < 2:
        valid = [*valid, new_secret()]
        _write(app, valid, manifest)
    elif RESTART_RECEIVER not in manifest.pending:
        hint = f"sudo hookd secret show {app} is the new one; paste it, then: sudo hookd secret rotate {app} --finish"
        raise HostError(f"{app} has an old and a new secret already", hint=hint)
    _restart_receiver(manifest)
    return valid[-1]


def finish(app: str, manifest: Manifest) -> None:
    """Let only the newest secret be valid, or go on where that was cut off."""
    valid = current(app)
    if len(valid) > 1:
        _write(app, valid[-1:], manifest)
    elif RESTART_RECEIVER not in manifest.pending:
        raise HostError(f"{app} has one secret; there is no rotation to finish", hint=f"sudo hookd secret rotate {app}")
    _restart_receiver(manifest)


def _write(app: str, valid: list[str], manifest: Manifest) -> None:
    manifest.add_pending(RESTART_RECEIVER)
    disk.write(layout.app_secret(app), "".join(f"{secret}\n" for secret in valid).encode(), disk.SECRET)


def _restart_receiver(manifest: Manifest) -> None:
    """It reads secrets when it starts; requests wait meanwhile."""
    run(RESTART_RECEIVER)
    manifest.mark_done(RESTART_RECEIVER)
