"""When an app's git host is polled, and when a failed deployment is tried again."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Final

from hookd.model.deployment import REPAIR_STEPS, RETRYABLE_ENDINGS, Deployment, Status, Trigger

_FIRST_BACKOFF: Final = timedelta(minutes=3)
LONGEST_BACKOFF: Final = timedelta(hours=1)


@dataclass(frozen=True)
class LastCheck:
    """The last poll of an app's git host: its time in seconds since 1970, and Redis' run id."""

    at: float
    run_id: str


def is_due(app: str, every: int, last: LastCheck | None, *, run_id: str, now: float, pace: float) -> bool:
    """Return True if the app must be polled now, so that two polls are never more than `every` seconds apart.

    The next call is `pace` seconds later. An app is due at once if Redis was emptied or restarted, or the clock was set
    back. An offset per app spreads the polls. 0 stands for never.
    """
    if not every:
        return False
    if last is None or last.run_id != run_id or last.at > now:
        return True
    early = pace + every / 6 * _share(app, last.at)
    return now >= last.at + every - early


def _share(app: str, at: float) -> float:
    """Return a pseudo-random number between 0 and 1 that is the same each time."""
    return zlib.crc32(f"{app} {at}".encode()) / 2**32


def build_retry_at(history: Iterable[Deployment], head: str) -> datetime | None:
    """Return the time of the next attempt to deploy a commit. `history` has the newest first."""
    return _next(attempts_for(history, head))


def attempts_for(history: Iterable[Deployment], head: str) -> list[Deployment]:
    """Return the latest deployments that failed to deploy a head, the newest first.

    A push whose fetch failed does not count, because the git host has just answered. The reconciler's requests count,
    because it had answered then too.
    """
    attempts = (one for one in history if one.trigger is Trigger.RECONCILE or not _fetch_failed(one))
    return _row(attempts, partial(_failed_for, head))


def _failed_for(head: str, one: Deployment) -> bool:
    """Return True if a deployment for this head failed, or did not find the head that the reconciler saw."""
    if one.status is Status.UNCHANGED:
        return one.trigger is Trigger.RECONCILE and one.claimed_commit == head
    return one.status in RETRYABLE_ENDINGS and one.commit in (None, head)


def _fetch_failed(one: Deployment) -> bool:
    return any(step.name == "fetch" and step.outcome == "failed" for step in one.steps)


def repair_retry_at(history: Iterable[Deployment]) -> datetime | None:
    """Return the time of the next repair, so that a failing service is not restarted all the time."""
    return _next(_row(history, lambda one: any(step.name in REPAIR_STEPS for step in one.steps)))


def _row(history: Iterable[Deployment], counts: Callable[[Deployment], bool]) -> list[Deployment]:
    ended = (one for one in history if one.ended and one.status is not Status.SUPERSEDED)
    return list(takewhile(counts, ended))


def _next(row: Sequence[Deployment]) -> datetime | None:
    """Return the time 3 minutes after the first attempt, 6 after the second, and so on up to one hour."""
    if not row or row[0].ended_at is None:
        return None
    doubled: timedelta = _FIRST_BACKOFF * 2 ** (len(row) - 1)
    return row[0].ended_at + min(LONGEST_BACKOFF, doubled)
