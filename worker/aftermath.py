"""How a deployment ended whose process is gone: what the app's journal proves, and no more."""

from collections.abc import Sequence
from dataclasses import dataclass

from hookd.contract.deployment import Deployment, Status
from hookd.contract.journal import AppState, Built, Event, Good, Quarantined, Switched, fold


@dataclass(frozen=True)
class Proved:
    """An ending, and its cause in one sentence."""

    status: Status
    cause: str


def ending_of(record: Deployment, events: Sequence[Event], status: Status, cause: str) -> Proved:
    """Read from the journal how far a deployment came; `status` and `cause` hold where it proves nothing better.

    It succeeded when its own release was found well and is the one that serves, and was rolled back when its release
    was found bad and the one before serves again. Everything else is for the next deployment to settle.
    """
    own = [event for event in events if event.deployment == record.id]
    state = fold(events)
    release = _release(record, own)
    bad = next((event for event in own if isinstance(event, Quarantined) and event.served), None)
    if not state.verified:
        return Proved(status, f"{cause}{_half_way(state, own)}")
    if not _found_well(state, own):
        return Proved(status, cause)
    if bad is not None and state.current != release:
        back = f"the new release is bad, {state.current} serves again: {bad.cause} ({cause})"
        return Proved(Status.ROLLED_BACK, back)
    if bad is None and release is not None and state.current == release:
        return Proved(Status.SUCCEEDED, f"{cause}, after {release} was found well")
    return Proved(status, cause)


def _release(record: Deployment, own: Sequence[Event]) -> str | None:
    """The release that the deployment was about: the one it built, or an earlier one that it went back to."""
    return next((event.release for event in reversed(own) if isinstance(event, Built)), record.release)


def _found_well(state: AppState, own: Sequence[Event]) -> bool:
    """Tell whether this deployment itself found what serves to be well."""
    return any(isinstance(event, Good) and event.release == state.current for event in own)


def _half_way(state: AppState, own: Sequence[Event]) -> str:
    if not any(isinstance(event, Switched) and event.release == state.current for event in own):
        return ""
    return f", after switching to {state.current} and before that was found well; the next deployment settles it"
