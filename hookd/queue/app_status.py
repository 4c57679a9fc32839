"""The published status of each app in Redis."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from redis import Redis

from hookd.model import redis_keys
from hookd.model.app_status import AppStatus


class AppStatusStore:
    """The status of all apps. Its methods raise redis.exceptions.RedisError."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    def read(self, app: str) -> AppStatus:
        """Return the status of an app, or an empty one."""
        return self.read_all([app])[0]

    def read_all(self, apps: Iterable[str]) -> list[AppStatus]:
        """Return the status of each app in one round trip."""
        names = list(apps)
        found = self._connection.mget([redis_keys.app_status_key(app) for app in names]) if names else []
        return [_decode(app, raw) for app, raw in zip(names, found, strict=True)]

    def publish(self, status: AppStatus) -> None:
        """Write the status of an app."""
        self._connection.set(redis_keys.app_status_key(status.app), status.model_dump_json())


def _decode(app: str, raw: Any) -> AppStatus:
    with suppress(ValidationError):
        if raw and (status := AppStatus.model_validate_json(raw)).app == app:
            return status
    return AppStatus(app=app)
