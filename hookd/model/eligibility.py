"""The only check whether a commit may be deployed: freeze, pin, quarantine, skipped paths, current commit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.journal import AppState


class Freeze(BaseModel):
    """A person's order to deploy nothing. It has no end if `until` is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=300)
    since: AwareDatetime
    until: AwareDatetime | None = None
    by: str = Field("", max_length=64)

    def is_in_force(self, now: datetime) -> bool:
        """Return True until the freeze ends."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"frozen since {self.since:%Y-%m-%d %H:%M} UTC{by}{until}: {self.reason}"


# These retry a commit whose build failed, but not one that was rolled back.
_RETRY_TRIGGERS: Final = frozenset({Trigger.REDELIVERY, Trigger.UNPIN})
_REMEDIES: Final[Mapping[Verdict, HintKind]] = {
    Verdict.FROZEN: HintKind.THAW,
    Verdict.PINNED: HintKind.UNPIN,
    Verdict.QUARANTINED: HintKind.DEPLOY_QUARANTINED,
    Verdict.SKIPPED: HintKind.DEPLOY_SKIPPED,
    Verdict.STOPPED: HintKind.START,
    Verdict.UNREACHABLE: HintKind.CHECK_REPOSITORY,
    Verdict.WAITING: HintKind.DEPLOY_NOW,
}


def remedy_hint(verdict: Verdict) -> Hint | None:
    """Return the hint that clears a verdict, if there is one."""
    kind = _REMEDIES.get(verdict)
    return Hint(kind) if kind else None


def remedy(verdict: Verdict, app: str, hookd: str = "hookd") -> str:
    """Return the command that clears a verdict, or "". `hookd` is the call of the program."""
    hint = remedy_hint(verdict)
    return render_hint(hint, app, hookd=hookd) if hint else ""


def block_reason(state: AppState, head: str, trigger: Trigger, freeze: Freeze | None = None) -> Assessment | None:
    """Return the reason against the deployment of `head`, or None. `freeze` is one in force.

    A freeze blocks everything. Otherwise a manual trigger is always followed. A redelivery retries a failed build, but
    never a commit that was rolled back: a captured request, sent again, must not disturb the site.
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
    why = f"a person pinned {state.pin.commit[:12]} while {head[:12]} was the branch's head"
    return Assessment(verdict=Verdict.PINNED, why=why)


def _quarantined(state: AppState, head: str, trigger: Trigger) -> Assessment | None:
    found = next((old for old in state.quarantined if old.commit == head), None)
    if found is None or (trigger in _RETRY_TRIGGERS and not found.served):
        return None
    why = f"{head[:12]} is quarantined since {found.at:%Y-%m-%d %H:%M} UTC: {found.cause}"
    return Assessment(verdict=Verdict.QUARANTINED, why=why)


def _skipped(state: AppState, head: str) -> Assessment | None:
    skipped, deployed = state.skipped, state.deployed
    if skipped is None or deployed is None or not state.verified:
        return None
    if (skipped.commit, skipped.base) != (head, deployed.commit):
        return None
    why = f"{head[:12]} changes none of the app's paths since {skipped.base[:12]}"
    return Assessment(verdict=Verdict.SKIPPED, why=why)
