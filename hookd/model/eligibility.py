"""The only check whether a commit may be deployed: freeze, pin, quarantine, skipped paths, current commit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, BaseModel, Field

from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.journal import AppState


class Freeze(BaseModel, frozen=True, extra="forbid"):
    """A person's order to deploy nothing. It has no end if `until` is None."""

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
    deployed = state.deployed.commit if state.deployed and state.verified else None
    quarantined = next((old for old in state.quarantined if old.commit == head), None)
    pin, skipped = state.pin, state.skipped
    if freeze is not None:
        return Assessment(verdict=Verdict.FROZEN, why=str(freeze))
    if trigger in MANUAL_TRIGGERS:
        return None
    if deployed == head:
        return Assessment(verdict=Verdict.UNCHANGED, why=f"{head[:12]} is already deployed")
    if pin is not None and pin.head == head:
        why = f"a person pinned {pin.commit[:12]} while {head[:12]} was the branch's head"
        return Assessment(verdict=Verdict.PINNED, why=why)
    if quarantined is not None and (quarantined.served or trigger not in _RETRY_TRIGGERS):
        why = f"{head[:12]} is quarantined since {quarantined.at:%Y-%m-%d %H:%M} UTC: {quarantined.cause}"
        return Assessment(verdict=Verdict.QUARANTINED, why=why)
    if skipped is not None and (skipped.commit, skipped.base) == (head, deployed):
        why = f"{head[:12]} changes none of the app's paths since {skipped.base[:12]}"
        return Assessment(verdict=Verdict.SKIPPED, why=why)
    return None
