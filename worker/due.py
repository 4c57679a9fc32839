"""When an app's git host is asked, and when what went wrong is tried again."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from hookd.contract.deployment import UNDONE, Deployment, Status
from worker.mend import STEPS

_FIRST_PAUSE: Final = timedelta(minutes=3)
LONGEST_PAUSE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Asked:
    """When an app's git host was last asked, in seconds since 1970, and in which life of Redis."""

    at: float
    life: str


def is_due(app: str, every: int, asked: Asked | None, *, life: str, now: float, pace: float) -> bool:
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


def next_build(history: Iterable[Deployment], head: str) -> datetime | None:
    """When a commit that failed, without being at fault, may be tried again; `history` begins with the newest."""
    return _next(history, lambda one: one.status in UNDONE and one.commit in (None, head))


def next_mend(history: Iterable[Deployment]) -> datetime | None:
    """When mending may be tried again; a service that fails again and again is not started each time."""
    return _next(history, lambda one: any(step.name in STEPS for step in one.steps))


def _next(history: Iterable[Deployment], counts: Callable[[Deployment], bool]) -> datetime | None:
    """3 minutes after the first try, 6 after the second, and at last one hour."""
    ended = (one for one in history if one.ended and one.status is not Status.SUPERSEDED)
    row = list(takewhile(counts, ended))
    if not row or row[0].ended_at is None:
        return None
    doubled: timedelta = _FIRST_PAUSE * 2 ** (len(row) - 1)
    return row[0].ended_at + min(LONGEST_PAUSE, doubled)
