"""Webhook secrets: one file per app with one or two secrets, never printed and never given to the worker."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.config import ConfigError
from hookd.credentials import Secret, systemd_credential
from hookd.model.app import Catalogue
from hookd.model.config_errors import Problem

MIN_SECRET_BYTES: Final = 16
MAX_SECRETS: Final = 2


@dataclass(frozen=True)
class Keyring:
    """The active secrets of every app."""

    secrets: dict[str, tuple[Secret, ...]] = field(repr=False)

    def of(self, app: str) -> tuple[Secret, ...]:
        """Return the secrets of an app, or none for an unknown app."""
        return self.secrets.get(app, ())


def read_keyring(directory: Path, catalogue: Catalogue) -> Keyring:
    """Read the secrets of every app. Raises ConfigError with the problems of all files."""
    problems: list[Problem] = []
    keyring = Keyring({app.name: read_secrets(secret_file(directory, app.name), problems) for app in catalogue.apps})
    if problems:
        raise ConfigError(problems)
    return keyring


def secret_file(directory: Path, app: str) -> Path:
    """Return the file of an app's secrets: systemd's credential if there is one, else the file in the directory."""
    return systemd_credential(f"secrets_{app}") or directory / app


def read_secrets(file: Path, problems: list[Problem]) -> tuple[Secret, ...]:
    """Read one app's secrets and append the file's problems to `problems`."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(Problem(str(file), "", f"the webhook secret cannot be read: {error.strerror}"))
        return ()
    values = [line.rstrip(b"\r") for line in lines if line.strip()]
    if not 1 <= len(values) <= MAX_SECRETS:
        problems.append(Problem(str(file), "", f"holds {len(values)} secrets, wanted: one, or two during a rotation"))
    if any(len(value) < MIN_SECRET_BYTES for value in values):
        text = f"holds a secret under {MIN_SECRET_BYTES} bytes, make one with: openssl rand -hex 32"
        problems.append(Problem(str(file), "", text))
    return tuple(Secret(value) for value in values)
