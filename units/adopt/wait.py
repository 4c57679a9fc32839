"""Waits for conditions, each with an end."""

import time
from collections.abc import Callable
from typing import Final

from hookd.contract.catalogue import Health
from units.errors import HostError
from units.http import Address, NoAnswer, status_of

_PAUSE_SECONDS: Final = 0.1


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition; raises HostError when it does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HostError(f"{what}: not within {seconds:g} s")
        time.sleep(_PAUSE_SECONDS)


def until_well(address: Address, page: str, health: Health, whom: str) -> None:
    """Wait for as many healthy answers in a row as the app's file asks for; raises HostError."""
    seen: list[bool] = []

    def well() -> bool:
        seen.append(_status(address, page, health) == health.status)
        return seen[-health.successes :] == [True] * health.successes

    until(well, f"{whom} does not answer {health.status} on {page}", health.deadline)


def _status(address: Address, page: str, health: Health) -> int | None:
    try:
        return status_of(address, page, health.host, health.timeout)
    except (NoAnswer, OSError):
        return None
