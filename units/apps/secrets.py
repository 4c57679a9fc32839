"""Webhook secrets on disk: creation, and a rotation during which the old secret stays valid."""

import secrets
from typing import Final

from units.changes.change import RESTART_RECEIVER
from units.changes.manifest import Manifest
from units.system import disk, layout
from units.system.errors import HostError
from units.system.run import run

_BYTES: Final = 32


def new_secret() -> str:
    """Return a new secret: 64 hexadecimal digits, which every git host's form accepts."""
    return secrets.token_hex(_BYTES)


def current(app: str) -> list[str]:
    """Return an app's secrets, the newest last."""
    content = disk.read(layout.app_secret(app)) or b""
    return [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]


def rotate(app: str, manifest: Manifest) -> str:
    """Add a new secret to the valid one, and return it. An interrupted rotation continues.

    Raises HostError if the receiver already has two secrets.
    """
    valid = current(app)
    if len(valid) < 2:
        valid.append(new_secret())
    elif RESTART_RECEIVER not in manifest.pending:
        raise HostError(f"{app} has an old and a new secret already", hint=f"sudo hookd secret show {app}")
    _replace(app, valid, manifest)
    return valid[-1]


def finish(app: str, manifest: Manifest) -> None:
    """Remove the old secret, or continue an interrupted removal. Raises HostError without a rotation."""
    valid = current(app)
    if len(valid) < 2 and RESTART_RECEIVER not in manifest.pending:
        raise HostError(f"{app} has no rotation to finish", hint=f"sudo hookd secret rotate {app}")
    _replace(app, valid[-1:], manifest)


def _replace(app: str, valid: list[str], manifest: Manifest) -> None:
    """Write the secrets, and make the receiver read them. Requests wait meanwhile."""
    manifest.add_pending(RESTART_RECEIVER)
    disk.write(layout.app_secret(app), "".join(f"{secret}\n" for secret in valid).encode(), disk.SECRET)
    run(RESTART_RECEIVER)
    manifest.mark_done(RESTART_RECEIVER)
