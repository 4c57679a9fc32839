"""Waits until a started app answers its health check, for the commands of root."""

import time
from typing import Final

from hookd.http_probe import NoAnswer, parse_health_url, request_status
from hookd.model.app import App

_PAUSE_SECONDS: Final = 0.1


def is_healthy_in_time(app: App, colour: str) -> bool:
    """Return True after the app's number of healthy answers in a row, and False after its deadline."""
    health, successes = app.health, 0
    address, page = parse_health_url(health.url_of(colour))
    end = time.monotonic() + health.deadline
    while successes < health.successes:
        if time.monotonic() > end:
            return False
        try:
            is_healthy = health.accepts(request_status(address, page, health.host, health.timeout))
        except (NoAnswer, OSError):
            is_healthy = False
        successes = successes + 1 if is_healthy else 0
        time.sleep(_PAUSE_SECONDS)
    return True
