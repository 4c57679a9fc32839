"""When an app's git host is asked, and when what went wrong is tried again."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Final

from hookd.model.deployment import REPAIR_STEPS, RETRYABLE_ENDINGS, Deployment, Status, Trigger
from worker.service.drift import Drift, is_unrepaired

_FIRST_BACKOFF: Final = timedelta(minutes=3)
LONGEST_BACKOFF: Final = timedelta(hours=1)


@dataclass(frozen=True)
class LastCheck:
    """When an app's git host was last asked, in seconds since 1970, and in which life of Redis."""

    at: float
    life: str


def is_due(app: str, every: int, asked: LastCheck | None, *, life: str, now: float, pace: float) -> bool:
    """Tell whether to ask now, so that no two answers are more than `every` seconds apart; 0 is never.

    `pace` is in how many seconds this is decided again. At once when nobody knows when it was (Redis was emptied), when
    Redis was away meanwhile, or when the clock was set back. Each app has a bit of time of its own, so that not all are
    asked at once.
    """
    if not every:
        return False
    if asked is None or asked.life != life or asked.at > now:
        return True
    early = pace + every / 6 * _share(app, asked.at)
    return now >= asked.at + every - early


def _share(app: str, at: float) -> float:
    """A number between 0 and 1 that looks random and is the same each time."""
    return zlib.crc32(f"{app} {at}".encode()) / 2**32


def build_retry_at(history: Iterable[Deployment], head: str) -> datetime | None:
    """When a commit that failed, without being at fault, may be tried again; `history` begins with the newest."""
    return _next(attempts_for(history, head))


def attempts_for(history: Iterable[Deployment], head: str) -> list[Deployment]:
    """The last deployments that were meant to bring a head and did not, up to the first other one; the newest first.

    That the git host gave a push nothing is no reason to wait: it has just answered. What a look asked for counts,
    since the host had answered then, too.
    """
    tries = (one for one in history if one.trigger is Trigger.RECONCILE or not _got_nothing(one))
    return _row(tries, partial(_tried_for, head))


def _tried_for(head: str, one: Deployment) -> bool:
    """Tell whether a deployment was meant to bring a head and did not; also one that did not find it, as a look had."""
    if one.status is Status.UNCHANGED:
        return one.trigger is Trigger.RECONCILE and one.claimed_commit == head
    return one.status in RETRYABLE_ENDINGS and one.commit in (None, head)


def _got_nothing(one: Deployment) -> bool:
    return any(step.name == "fetch" and step.outcome == "failed" for step in one.steps)


def repair_retry_at(history: Iterable[Deployment]) -> datetime | None:
    """When mending may be tried again; a service that fails again and again is not started each time."""
    return _next(_row(history, lambda one: any(step.name in REPAIR_STEPS for step in one.steps)))


def restart_was_futile(history: Iterable[Deployment], drift: Drift) -> bool:
    """Return True if an earlier deployment restarted the service and this drift remained."""
    return is_unrepaired(drift, (step for one in history for step in one.steps))


def _row(history: Iterable[Deployment], counts: Callable[[Deployment], bool]) -> list[Deployment]:
    ended = (one for one in history if one.ended and one.status is not Status.SUPERSEDED)
    return list(takewhile(counts, ended))


def _next(row: Sequence[Deployment]) -> datetime | None:
    """3 minutes after the first try, 6 after the second, and at last one hour."""
    if not row or row[0].ended_at is None:
        return None
    doubled: timedelta = _FIRST_BACKOFF * 2 ** (len(row) - 1)
    return row[0].ended_at + min(LONGEST_BACKOFF, doubled)
