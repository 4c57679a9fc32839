"""What someone asks for, and whether the deployment that waits already will do it."""

from dataclasses import dataclass, replace
from typing import Final

from hookd.contract.deployment import BY_HAND, Deployment, Trigger

# Nobody typed these.
_BY_ITSELF: Final = frozenset({Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE})


@dataclass(frozen=True)
class Request:
    """What someone asks for; `seconds` is the longest run of the job, `delivery` the sender's own id."""

    app: str
    trigger: Trigger
    seconds: int
    delivery: str | None = None
    claimed_commit: str | None = None
    pinned_commit: str | None = None
    replay_of: str | None = None


def again(request: Request) -> Request:
    """Mark a push whose delivery is known and failed: the sender's "redeliver" button."""
    return replace(request, trigger=Trigger.REDELIVERY)


def joins(request: Request, waiting: Deployment) -> bool:
    """Tell whether the waiting deployment stands for what is asked: both want the head, and it is at least as forceful.

    Where a person chose another commit, no push takes that choice away: it waits for the person to follow the branch.
    """
    if _chooses(waiting):
        return request.trigger in _BY_ITSELF
    if _chooses(request):
        return False
    return _force(request.trigger) <= _force(waiting.trigger)


def _chooses(asked: Request | Deployment) -> bool:
    return asked.pinned_commit is not None or asked.trigger is Trigger.ROLLBACK


def _force(trigger: Trigger) -> int:
    """Rank how much is tried again: nothing for a push, failed builds for a redelivery, everything for a person."""
    if trigger in BY_HAND:
        return 3
    return {Trigger.UNPIN: 2, Trigger.REDELIVERY: 1}.get(trigger, 0)
