"""Decisions about deployments: verdicts and their remedies, freezes, logged decisions, and the lag of an app.

`block_reason` is the only check whether a commit may be deployed: freeze, pin, quarantine, skipped paths, current
commit.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from hookd.model.deployment import MANUAL_TRIGGERS, Status, Timestamp, Trigger
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.ids import AppName, CommitId, DeploymentId
from hookd.model.journal import AppState, Quarantined
from hookd.model.text import format_duration, truncate

_TEXT_LENGTH: Final = 300
# Text of unknown origin, cut and stored as it came. Programs escape it before they print it.
_ShortText = Annotated[str, AfterValidator(lambda text: truncate(text, _TEXT_LENGTH))]


class Verdict(StrEnum):
    """The result of a decision."""

    QUEUED = "queued"  # A deployment was requested, waits or runs.
    COALESCED = "coalesced"  # The waiting deployment will also serve this push.
    DUPLICATE = "duplicate"  # This push was answered before.
    IGNORED = "ignored"  # The event, the repository or the branch is not the app's.
    REFUSED = "refused"  # The signature is wrong.
    UNREACHABLE = "unreachable"  # The git host did not answer.
    UNCHANGED = "unchanged"  # The head already serves.
    SKIPPED = "skipped"  # The head changes none of the app's paths.
    QUARANTINED = "quarantined"  # The head is a known bad commit.
    PINNED = "pinned"  # A person chose another commit.
    FROZEN = "frozen"  # A person froze the app.
    THAWED = "thawed"  # A person thawed the app.
    RESTORED = "restored"  # A person put a backup back.
    RAN = "ran"  # A person ran a command in the app.
    CONFIGURED = "configured"  # A person changed the app's variables.
    WAITING = "waiting"  # The retry time is not reached, or a person must act.
    STOPPED = "stopped"  # A person stopped the app's service.
    ENDED = "ended"  # A deployment ended. `Decision.ending` is its status.


class Assessment(BaseModel, frozen=True):
    """A verdict and its reason in one sentence. `needs_fix` means that only another commit can end it."""

    verdict: Verdict
    why: str
    needs_fix: bool = False


# Before the first deployment, which a person starts.
NOTHING_DEPLOYED: Final = Assessment(verdict=Verdict.WAITING, why="nothing is deployed yet")


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
    Verdict.QUARANTINED: HintKind.DEPLOY,
    Verdict.SKIPPED: HintKind.DEPLOY,
    Verdict.STOPPED: HintKind.START,
    Verdict.UNREACHABLE: HintKind.RUN_DOCTOR,
    Verdict.WAITING: HintKind.DEPLOY,
}


def remedy_hint(verdict: Verdict, *, needs_fix: bool = False) -> Hint | None:
    """Return the hint that clears a verdict, if there is one."""
    kind = HintKind.PUSH_FIX if needs_fix else _REMEDIES.get(verdict)
    return Hint(kind) if kind else None


def remedy(verdict: Verdict, app: str, hookd: str = "hookd", *, needs_fix: bool = False) -> str:
    """Return the command that clears a verdict, or "". `hookd` is the call of the program."""
    hint = remedy_hint(verdict, needs_fix=needs_fix)
    return render_hint(hint, app, hookd=hookd) if hint else ""


def block_reason(
    state: AppState, head: str, trigger: Trigger, freeze: Freeze | None = None, edited: datetime | None = None
) -> Assessment | None:
    """Return the reason against the deployment of `head`. `freeze` is in force, `edited` the configuration's time.

    A freeze blocks everything. Otherwise a manual trigger is always followed. A redelivery retries a failed build, but
    never a commit that was rolled back or failed in its release commands: a captured request, sent again, must not
    disturb the site.
    """
    deployed = state.deployed.commit if state.deployed and state.verified else None
    quarantined = state.quarantine_of(head)
    pin, skipped = state.pin, state.skipped
    if freeze is not None:
        return Assessment(verdict=Verdict.FROZEN, why=str(freeze))
    if trigger in MANUAL_TRIGGERS:
        return None
    if deployed == head:
        return Assessment(verdict=Verdict.UNCHANGED, why=f"{head[:12]} is already deployed")
    if pin is not None and pin.head == head:
        why = f"{pin.commit[:12]} is pinned until a newer commit than {head[:12]}"
        return Assessment(verdict=Verdict.PINNED, why=why)
    is_retried = trigger in _RETRY_TRIGGERS and quarantined is not None and _is_retryable(state, quarantined)
    if quarantined is not None and not is_retried and not quarantined.is_lifted(edited):
        return Assessment(verdict=Verdict.QUARANTINED, why=str(quarantined), needs_fix=quarantined.needs_fix)
    if skipped is not None and (skipped.commit, skipped.base) == (head, deployed):
        why = f"{head[:12]} changes none of the app's paths since {skipped.base[:12]}"
        return Assessment(verdict=Verdict.SKIPPED, why=why)
    return None


def _is_retryable(state: AppState, quarantined: Quarantined) -> bool:
    """Return True if a commit has changed nothing yet: neither visitors nor a database have seen it."""
    commands = state.release_commands_of(quarantined.commit)
    return not quarantined.served and (commands is None or commands.finished)


class Decision(BaseModel, frozen=True):
    """One decision as the log keeps it.

    `source` is the deciding part: the receiver for a delivery, the reconciler, a deployment, or a person's command.
    """

    at: Timestamp
    app: AppName | None = None
    source: Literal["delivery", "reconcile", "deployment", "person"]
    verdict: Verdict
    why: _ShortText
    ending: Status | None = None
    event: _ShortText | None = None
    delivery: _ShortText | None = None
    repository: _ShortText | None = None
    ref: _ShortText | None = None
    claimed_commit: CommitId | None = None
    head: CommitId | None = None
    deployed: CommitId | None = None
    running: _ShortText | None = None
    deployment: DeploymentId | None = None


class Lag(Assessment, frozen=True):
    """The distance of an app from its branch's head.

    `commits` is None when they cannot be counted: the head is not fetched yet, or its history was rewritten.
    """

    commits: int | None
    since: AwareDatetime

    def sentence(self, now: datetime) -> str:
        """Return the lag and its reason."""
        return f"{self.distance(now)}, because {self.why}"

    def distance(self, now: datetime) -> str:
        """Return the number of commits and the duration."""
        since = f"for {format_duration(now - self.since)}"
        if self.verdict is Verdict.UNREACHABLE:
            return f"head not known {since}"
        by = {None: "", 1: " by 1 commit"}.get(self.commits, f" by {self.commits} commits")
        return f"behind head{by} {since}"
