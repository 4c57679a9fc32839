"""Webhook secrets on disk: made, shown, and rotated so that the old one stays valid until the sender knows the new."""

import secrets
from typing import Final

from units import disk, layout
from units.errors import HostError
from units.run import run

_OWNER: Final = disk.Owner(0, 0, 0o600)
_BYTES: Final = 32


def new_secret() -> str:
    """Make a secret: 64 hexadecimal digits, which every sender's form takes."""
    return secrets.token_hex(_BYTES)


def current(app: str) -> list[str]:
    """Read an app's secrets, the newest last."""
    content = disk.read(layout.app_secret(app)) or b""
    return [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]


def rotate(app: str) -> str:
    """Add a new secret beside the one that is valid, and return it; raises HostError while a rotation is under way."""
    valid = current(app)
    if len(valid) > 1:
        raise HostError(f"{app} has an old and a new secret already", hint=f"sudo hookd secret rotate {app} --finish")
    fresh = new_secret()
    _write(app, [*valid, fresh])
    return fresh


def finish(app: str) -> None:
    """Let only the newest secret be valid."""
    valid = current(app)
    if len(valid) < 2:
        raise HostError(f"{app} has one secret; there is no rotation to finish", hint=f"sudo hookd secret rotate {app}")
    _write(app, valid[-1:])


def _write(app: str, valid: list[str]) -> None:
    disk.write(layout.app_secret(app), "".join(f"{secret}\n" for secret in valid).encode(), _OWNER)
    run(("systemctl", "restart", "hookd.service"))
