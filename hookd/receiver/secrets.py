"""The webhook secrets: one file per app, at most two secrets in it, never printed and never given to the worker."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.config import ConfigError
from hookd.credentials import Secret, systemd_credential
from hookd.model.app import Catalogue
from hookd.model.config_errors import Problem

__all__ = ["MAX_SECRETS", "MIN_SECRET_BYTES", "Keyring", "Secret", "read_keyring", "read_secrets", "secret_file"]

MIN_SECRET_BYTES: Final = 16
MAX_SECRETS: Final = 2


@dataclass(frozen=True)
class Keyring:
    """The active secrets of every app."""

    secrets: dict[str, tuple[Secret, ...]] = field(repr=False)

    def of(self, app: str) -> tuple[Secret, ...]:
        """Return the secrets of an app; none for an app that is not there."""
        return self.secrets.get(app, ())


def read_keyring(directory: Path, catalogue: Catalogue) -> Keyring:
    """Read the secrets of every app.

    Raises ConfigError naming each app whose secret is missing, too short or one of too many.
    """
    problems: list[Problem] = []
    keyring = Keyring({app.name: read_secrets(secret_file(directory, app.name), problems) for app in catalogue.apps})
    if problems:
        raise ConfigError(problems)
    return keyring


def secret_file(directory: Path, app: str) -> Path:
    """Name the file of an app's secrets: systemd's, when it gave this process any, else the one in the directory."""
    return systemd_credential(f"secrets_{app}") or directory / app


def read_secrets(file: Path, problems: list[Problem]) -> tuple[Secret, ...]:
    """Read one app's secrets and add what is wrong with them to `problems`."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(Problem(str(file), "", f"the webhook secret cannot be read: {error.strerror}"))
        return ()
    values = [line.rstrip(b"\r") for line in lines if line.strip()]
    if not 1 <= len(values) <= MAX_SECRETS:
        problems.append(Problem(str(file), "", f"holds {len(values)} secrets; wanted: one, or two during a rotation"))
    if any(len(value) < MIN_SECRET_BYTES for value in values):
        problems.append(
            Problem(
                str(file), "", f"holds a secret under {MIN_SECRET_BYTES} bytes; make one with: openssl rand -hex 32"
            )
        )
    return tuple(Secret(value) for value in values)
