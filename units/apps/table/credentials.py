"""Credentials in an app's file, which every user of the host can read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from hookd.model.app import App
from units.system import layout
from units.system.errors import Reason

_SECRET: Final = re.compile(r"(?i)token|secret|passw|api_?key|auth|credential|sig(?:nature)?$")


def credential_conflicts(app: App) -> Iterator[Reason]:
    """Name the variables that hold a credential, and the file where they belong."""
    for name, value in app.dependencies.environment.items():
        if _SECRET.search(name) or _has_credential(value):
            yield _conflict(f"dependencies.environment.{name}", layout.WORKER_ENVIRONMENT)
    for name, value in app.build.environment.items():
        if _has_credential(value):
            yield _conflict(f"build.environment.{name}", layout.build_environment(app.name))


def _conflict(key: str, file: Path) -> Reason:
    return Reason(f"{key} holds a credential, and every user can read it", f"sudoedit {file}")


def _has_credential(text: str) -> bool:
    """Return True if one of the URLs in a text holds a password, a token as the user, or a secret in its query."""
    return any(map(_is_private, text.split()))


def _is_private(word: str) -> bool:
    try:
        parts = urlsplit(word)
    except ValueError:
        return "@" in word
    user = parts.username if parts.scheme not in ("ssh", "git+ssh") else None
    return bool(parts.netloc) and bool(
        user or parts.password or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query))
    )
