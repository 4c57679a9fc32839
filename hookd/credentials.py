"""Secrets from files: systemd's credentials of this process, else the files that the configuration names.

An app's webhook secrets, one or two in a file, are never printed and never given to the worker.
"""

import os
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import quote, urlsplit

from redis.credentials import UsernamePasswordCredentialProvider

from hookd.config import Config, ConfigError, Problem, unreadable
from hookd.model.catalogue import Catalogue

Role = Literal["receiver", "status", "worker", "operator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# Set by systemd for a unit with LoadCredential=. Only that unit can read the directory.
VARIABLE: Final = "CREDENTIALS_DIRECTORY"


MIN_SECRET_BYTES: Final = 16
MAX_SECRETS: Final = 2


class Secret:
    """Bytes that print as `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes, for a signature or a log-in."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"


class PasswordUnreadable(Exception):
    """The caller may not read the password that the command needs."""


# The Redis user of a process. Each connection of redis-py asks for it, so that no URL holds the password.
RedisUser = UsernamePasswordCredentialProvider


def systemd_credential(name: str) -> Path | None:
    """Return the file of a systemd credential, or None."""
    directory = os.environ.get(VARIABLE)
    file = Path(directory) / name if directory else None
    return file if file is not None and file.is_file() else None


def user_name(role: Role) -> str:
    """Return the Redis user of a role, as `units/render/redis_acl.py` defines it."""
    return f"hookd-{role}"


def redis_user(config: Config, role: Role) -> RedisUser | None:
    """Return the process's Redis user, or None if Redis needs no password. Raises ConfigError for an invalid file."""
    if config.settings.redis.passwords is None:
        return None
    file = password_file(config, role)
    if "@" in urlsplit(config.settings.redis.url).netloc:
        raise ConfigError([Problem(str(config.path), "redis.url", "names a user, remove it or redis.passwords")])
    try:
        password = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError([unreadable(file, error, f"the password of Redis' user {user_name(role)} ")]) from error
    if not password:
        raise ConfigError([Problem(str(file), "", "holds no password")])
    return RedisUser(user_name(role), password)


def password_file(config: Config, role: Role) -> Path:
    """Return the file of a Redis user's password: systemd's credential if there is one, else the configured file."""
    return systemd_credential(f"redis_{role}") or (config.settings.redis.passwords or Path()) / role


def cli_user(config: Config, *, reads: bool) -> RedisUser | None:
    """Return the command line's Redis user: the operator, or for a reading command also the status user.

    Raises PasswordUnreadable if the caller may read no password, and ConfigError for an invalid file.
    """
    for role in ("operator", "status") if reads else ("operator",):
        try:
            return redis_user(config, role)
        except ConfigError as error:
            if not error.problems[0].denied:
                raise
    raise PasswordUnreadable


def with_user(url: str, user: RedisUser | None) -> str:
    """Return Redis' URL with user and password, for programs that take them only there."""
    if user is None:
        return url
    parts = urlsplit(url)
    login = f"{quote(user.username, safe='')}:{quote(user.password, safe='')}"
    return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()


def read_all_secrets(directory: Path, catalogue: Catalogue) -> dict[str, tuple[Secret, ...]]:
    """Read the secrets of every app. Raises ConfigError with the problems of all files."""
    problems: list[Problem] = []
    secrets = {app.name: read_secrets(secret_file(directory, app.name), problems) for app in catalogue.apps}
    if problems:
        raise ConfigError(problems)
    return secrets


def secret_file(directory: Path, app: str) -> Path:
    """Return the file of an app's secrets: systemd's credential if there is one, else the file in the directory."""
    return systemd_credential(f"secrets_{app}") or directory / app


def read_secrets(file: Path, problems: list[Problem]) -> tuple[Secret, ...]:
    """Read one app's secrets and append the file's problems to `problems`."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(unreadable(file, error, "the webhook secret "))
        return ()
    values = [line.rstrip(b"\r") for line in lines if line.strip()]
    if not 1 <= len(values) <= MAX_SECRETS:
        problems.append(Problem(str(file), "", f"holds {len(values)} secrets, wanted: one, or two during a rotation"))
    if any(len(value) < MIN_SECRET_BYTES for value in values):
        problems.append(Problem(str(file), "", f"holds a secret under {MIN_SECRET_BYTES} bytes"))
    return tuple(Secret(value) for value in values)
