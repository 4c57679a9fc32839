"""Decisions: the reason why a head was or was not deployed, as `hookd why` shows it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel

from hookd.model.deployment import Status, Timestamp
from hookd.model.ids import AppName, CommitId, DeploymentId
from hookd.model.text import truncate

_TEXT_LENGTH: Final = 300
# Text of unknown origin, cut and stored as it came. Programs escape it before they print it.
ShortText = Annotated[str, AfterValidator(lambda text: truncate(text, _TEXT_LENGTH))]


class Verdict(StrEnum):
    """The result of a decision."""

    QUEUED = "queued"  # A deployment was requested, waits or runs.
    COALESCED = "coalesced"  # The waiting deployment will also serve this push.
    DUPLICATE = "duplicate"  # This delivery was answered before.
    IGNORED = "ignored"  # The event, the repository or the branch is not the app's.
    REFUSED = "refused"  # The signature is wrong.
    UNREACHABLE = "unreachable"  # The git host did not answer.
    UNCHANGED = "unchanged"  # The head already serves.
    SKIPPED = "skipped"  # The head changes none of the app's paths.
    QUARANTINED = "quarantined"  # The head is a known bad commit.
    PINNED = "pinned"  # A person chose another commit.
    FROZEN = "frozen"  # A person froze the app.
    THAWED = "thawed"  # A person thawed the app.
    WAITING = "waiting"  # The retry time is not reached, or a person must act.
    STOPPED = "stopped"  # A person stopped the app's service.
    ENDED = "ended"  # A deployment ended. `Decision.ending` is its status.


class Assessment(BaseModel, frozen=True):
    """A verdict and its reason in one sentence."""

    verdict: Verdict
    why: str


class Decision(BaseModel, frozen=True):
    """One decision as the log keeps it.

    `source` is the deciding part: the receiver for a delivery, the reconciler, a deployment, or a person's command.
    """

    at: Timestamp
    app: AppName | None = None
    source: Literal["delivery", "reconcile", "deployment", "person"]
    verdict: Verdict
    why: ShortText
    ending: Status | None = None
    event: ShortText | None = None
    delivery: ShortText | None = None
    repository: ShortText | None = None
    ref: ShortText | None = None
    claimed_commit: CommitId | None = None
    head: CommitId | None = None
    deployed: CommitId | None = None
    running: ShortText | None = None
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


def format_duration(time: timedelta) -> str:
    """Return a duration in one unit, such as `90 min`, `3 h` or `2 d`."""
    minutes = max(0, int(time.total_seconds() // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
