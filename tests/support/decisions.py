"""Decisions, refusals and counters of a receiver under test."""

from datetime import UTC, datetime

from hookd.model.decision import Decision, Verdict
from hookd.queue import counters, published
from tests.support.processes import wait_for
from tests.support.receiver import LocalReceiver

# The last id there is: Redis then refuses each further entry.
FULL = "18446744073709551615-18446744073709551615"


def decided(receiver: LocalReceiver, app: str = "github") -> list[Decision]:
    """Return the app's decisions, the oldest first."""
    return published.read_decisions(receiver.redis, app, 100)[::-1]


def refused(receiver: LocalReceiver, count: int = 1) -> list[Decision]:
    """Wait for a number of refused requests and return them, the oldest first."""
    wait_for(lambda: len(published.read_refusals(receiver.redis, 500)) >= count, what="the refusals")
    return published.read_refusals(receiver.redis, 500)[::-1]


def counted(receiver: LocalReceiver, app: str = "github") -> counters.Counters:
    [found] = counters.read_counters(receiver.redis, [app])
    return found


def refusal(why: str) -> Decision:
    return Decision(at=datetime.now(UTC), app="github", source="delivery", verdict=Verdict.REFUSED, why=why)
