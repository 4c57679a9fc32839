"""Three ways to reach Redis: impatient for the receiver, patient for the worker, plain for a person's shell."""

from collections.abc import Callable
from typing import Any, Final, Self, cast

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, TimeoutError
from redis.retry import Retry

from hookd.store.credentials import RedisUser

# A sender waits 5 s at the least (Gitea) and is promised an answer within 2 s, whatever Redis does.
IMPATIENT_SECONDS: Final = 0.8
PERSON_SECONDS: Final = 5.0
# Waits of 0.2, 0.4, … 5 s: about two minutes in all, the time of a Redis restart on a busy host.
PATIENT_RETRIES: Final = 30


def impatient(url: str, user: RedisUser | None = None) -> Redis:
    """Connect for the receiver: one try, 0.8 s for each answer."""
    return Redis.from_url(
        url,
        credential_provider=user,
        socket_timeout=IMPATIENT_SECONDS,
        socket_connect_timeout=IMPATIENT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        max_connections=64,
    )


def for_person(url: str, user: RedisUser | None = None) -> Redis:
    """Connect for a command that a person waits for."""
    return Redis.from_url(
        url, credential_provider=user, socket_timeout=PERSON_SECONDS, socket_connect_timeout=PERSON_SECONDS
    )


class _Patience(Retry):
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


class PatientRedis(Redis):
    """Connects for the worker: a Redis that restarts is waited for, so that work done is also recorded."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Connect with patience; the options of redis-py win."""
        patience = {
            "retry": _Patience(ExponentialBackoff(cap=5, base=0.2), PATIENT_RETRIES),
            "retry_on_error": [ConnectionError, TimeoutError, BusyLoadingError],
            "socket_connect_timeout": PERSON_SECONDS,
        }
        connection = super().from_url(url, **{**patience, **options})
        return cast(Self, connection)
