"""Decides whether a commit is deployed: the one place that weighs freeze, pin, quarantine, paths and what serves.

And what a person types where it is not.
"""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.journal import AppState


class Freeze(BaseModel):
    """Who froze an app, since when, why, and until when; for good when `until` is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=300)
    since: AwareDatetime
    until: AwareDatetime | None = None
    by: str = Field("", max_length=64)

    def is_in_force(self, now: datetime) -> bool:
        """Tell whether it is in force."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"frozen since {self.since:%Y-%m-%d %H:%M} UTC{by}{until}: {self.reason}"


# These try a commit again whose build failed; one that was started and found bad stays where it is.
_RETRY_TRIGGERS = frozenset({Trigger.REDELIVERY, Trigger.UNPIN})


def remedy(verdict: Verdict, app: str, hookd: str = "hookd") -> str:
    """What a person types to end what keeps an app from its head; nothing where nothing does.

    `hookd` is how the program is called.
    """
    match verdict:
        case Verdict.FROZEN:
            return f"{hookd} thaw {app}"
        case Verdict.PINNED:
            return f"push a newer commit, or follow the branch again: {hookd} unpin {app}"
        case Verdict.QUARANTINED:
            return f"push a newer commit, or try this one by hand: {hookd} deploy {app}"
        case Verdict.SKIPPED:
            return f"to deploy it all the same: {hookd} deploy {app}"
        case Verdict.STOPPED:
            return f"sudo hookd start {app}"  # Nobody but root starts services.
        case Verdict.UNREACHABLE:
            return f"check that the address, the branch and the deploy key are right, then: {hookd} deploy {app}"
        case Verdict.WAITING:
            return f"to try at once: {hookd} deploy {app}"
        case _:
            return ""


def block_reason(state: AppState, head: str, trigger: Trigger, freeze: Freeze | None = None) -> Assessment | None:
    """Say why `head` is not deployed for this trigger; None means: deploy it. `freeze` is one that is in force.

    Nothing is deployed to a frozen app. Otherwise a person's request is always followed. The sender's redelivery tries
    again what failed before anything was started, but not what was rolled back: a captured request, sent again, must
    not disturb the site.
    """
    if freeze is not None:
        return Assessment(verdict=Verdict.FROZEN, why=str(freeze))
    if trigger in MANUAL_TRIGGERS:
        return None
    return (
        _already_deployed(state, head)
        or _pinned(state, head)
        or _quarantined(state, head, trigger)
        or _skipped(state, head)
    )


def _already_deployed(state: AppState, head: str) -> Assessment | None:
    if state.deployed is None or state.deployed.commit != head or not state.verified:
        return None
    return Assessment(verdict=Verdict.UNCHANGED, why=f"{head[:12]} is already deployed")


def _pinned(state: AppState, head: str) -> Assessment | None:
    if state.pin is None or state.pin.head != head:
        return None
    why = f"a person pinned {state.pin.commit[:12]}; {head[:12]} was the branch's head then, too"
    return Assessment(verdict=Verdict.PINNED, why=why)


def _quarantined(state: AppState, head: str, trigger: Trigger) -> Assessment | None:
    found = next((old for old in state.quarantined if old.commit == head), None)
    if found is None or (trigger in _RETRY_TRIGGERS and not found.served):
        return None
    why = f"{head[:12]} is quarantined since {found.at:%Y-%m-%d %H:%M} UTC: {found.cause}"
    return Assessment(verdict=Verdict.QUARANTINED, why=why)


def _skipped(state: AppState, head: str) -> Assessment | None:
    passed, deployed = state.passed, state.deployed
    if passed is None or deployed is None or not state.verified:
        return None
    if (passed.commit, passed.base) != (head, deployed.commit):
        return None
    return Assessment(
        verdict=Verdict.SKIPPED, why=f"{head[:12]} changes none of the app's paths since {passed.base[:12]}"
    )
