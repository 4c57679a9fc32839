"""Secrets from files: systemd's credentials of this process, else the files that the configuration names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import quote, urlsplit

from redis.credentials import CredentialProvider

from hookd.config import Config, ConfigError
from hookd.model.config_errors import Problem

Role = Literal["receiver", "status", "worker", "operator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# Set by systemd for a unit with LoadCredential=. Only that unit can read the directory.
VARIABLE: Final = "CREDENTIALS_DIRECTORY"


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


@dataclass(frozen=True)
class RedisUser(CredentialProvider):
    """The Redis user of a process. Each connection of redis-py asks for it, so that no URL holds the password."""

    name: str
    password: Secret

    def get_credentials(self) -> tuple[str, str]:
        """Return name and password."""
        return self.name, self.password.reveal().decode()


def systemd_credential(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file of a systemd credential, or None."""
    directory = environment.get(VARIABLE)
    file = Path(directory) / name if directory else None
    return file if file is not None and file.is_file() else None


def user_name(role: Role) -> str:
    """Return the Redis user of a role, as `units/render/redis_acl.py` defines it."""
    return f"hookd-{role}"


def redis_user(config: Config, role: Role) -> RedisUser | None:
    """Return the process's Redis user, or None if Redis needs no password. Raises ConfigError for an invalid file."""
    file = _password_file(config, role)
    if file is None:
        return None
    if "@" in urlsplit(config.settings.redis.url).netloc:
        raise ConfigError([Problem(str(config.path), "redis.url", "names a user, remove it or redis.passwords")])
    try:
        password = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(file), "", "a password for Redis is UTF-8 text")]) from None
    except OSError as error:
        problem = Problem(
            str(file), "", f"the password of Redis' user {user_name(role)} cannot be read: {error.strerror}"
        )
        raise ConfigError([problem]) from error
    if not password:
        raise ConfigError([Problem(str(file), "", "holds no password")])
    return RedisUser(user_name(role), Secret(password.encode()))


def cli_user(config: Config, *, reads: bool) -> RedisUser | None:
    """Return the command line's Redis user: the operator, or for a reading command also the status user.

    Raises PasswordUnreadable if the caller may read no password, and ConfigError for an invalid file.
    """
    for role in ("operator", "status") if reads else ("operator",):
        try:
            return redis_user(config, role)
        except ConfigError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
    raise PasswordUnreadable


def with_user(url: str, user: RedisUser | None) -> str:
    """Return Redis' URL with user and password, for programs that take them only there."""
    if user is None:
        return url
    name, password = (quote(part, safe="") for part in user.get_credentials())
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}:{password}@{parts.netloc}").geturl()


def _password_file(config: Config, role: Role) -> Path | None:
    directory = config.settings.redis.passwords
    return None if directory is None else systemd_credential(f"redis_{role}") or directory / role
