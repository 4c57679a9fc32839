"""Three ways to reach Redis: impatient for the receiver, patient for the worker, plain for a person's shell."""

from typing import Any, Final, Self, cast

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError
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


class PatientRedis(Redis):
    """Connects for the worker: a Redis that restarts is waited for, so that work done is also recorded."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Connect with patience; the options of redis-py win."""
        patience = {
            "retry": Retry(ExponentialBackoff(cap=5, base=0.2), PATIENT_RETRIES),
            "retry_on_error": [ConnectionError, TimeoutError, BusyLoadingError],
            "socket_connect_timeout": PERSON_SECONDS,
        }
        connection = super().from_url(url, **{**patience, **options})
        return cast(Self, connection)
