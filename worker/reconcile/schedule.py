"""When an app's git host is polled, and when a failed deployment is tried again."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from hookd.model.deployment import REPAIR_STEPS, RETRYABLE_ENDINGS, Deployment, Status, Trigger

_FIRST_BACKOFF: Final = timedelta(minutes=3)
LONGEST_BACKOFF: Final = timedelta(hours=1)


def needs_poll(app: str, every: int, last: float | None, *, now: float, pace: float, edited: float = 0.0) -> bool:
    """Return True if the app must be polled now, so that two polls are never more than `every` seconds apart.

    `last` is the time of the last poll since Redis' start, if it is known. The next call is `pace` seconds later. An
    app is polled at once if the clock was set back, or if its configuration was `edited` since. An offset per app
    spreads the polls. 0 stands for never.
    """
    if not every:
        return False
    if last is None or last > now or last < edited <= now:
        return True
    share = zlib.crc32(f"{app} {last}".encode()) / 2**32
    return now >= last + every - pace - every / 6 * share


def build_retry_at(
    history: Iterable[Deployment], head: str, edited: datetime | None = None, now: datetime | None = None
) -> datetime | None:
    """Return the time of the next attempt to deploy a commit. `history` has the newest first.

    Attempts before the app was `edited` do not count, unless that lies in the future (a clock jump).
    """
    attempts = attempts_for(history, head)
    if edited is not None and now is not None and edited <= now:
        attempts = [attempt for attempt in attempts if (attempt.started_at or attempt.created_at) >= edited]
    return _retry_at(attempts)


def attempts_for(history: Iterable[Deployment], head: str) -> list[Deployment]:
    """Return the latest deployments that failed to deploy a head, the newest first.

    A push whose fetch failed does not count, because the git host has just answered. The reconciler's requests count,
    because it had answered then too.
    """
    attempts = (record for record in history if record.trigger is Trigger.RECONCILE or not _fetch_failed(record))
    return _latest(attempts, lambda record: _failed_for(head, record))


def _failed_for(head: str, record: Deployment) -> bool:
    """Return True if a deployment for this head failed, or did not find the head that the reconciler saw."""
    if record.status is Status.UNCHANGED:
        return record.trigger is Trigger.RECONCILE and record.claimed_commit == head
    return record.status in RETRYABLE_ENDINGS and record.commit in (None, head)


def _fetch_failed(record: Deployment) -> bool:
    return any(step.name == "fetch" and step.outcome == "failed" for step in record.steps)


def repair_retry_at(history: Iterable[Deployment]) -> datetime | None:
    """Return the time of the next repair, so that a failing service is not restarted all the time."""
    return _retry_at(_latest(history, lambda record: any(step.name in REPAIR_STEPS for step in record.steps)))


def _latest(history: Iterable[Deployment], counts: Callable[[Deployment], bool]) -> list[Deployment]:
    ended = (record for record in history if record.ended and record.status is not Status.SUPERSEDED)
    return list(takewhile(counts, ended))


def _retry_at(attempts: Sequence[Deployment]) -> datetime | None:
    """Return the time 3 minutes after the first attempt, 6 after the second, and so on up to one hour."""
    if not attempts or attempts[0].ended_at is None:
        return None
    doubled: timedelta = _FIRST_BACKOFF * 2 ** (len(attempts) - 1)
    return attempts[0].ended_at + min(LONGEST_BACKOFF, doubled)
