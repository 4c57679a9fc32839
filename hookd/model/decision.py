"""What was decided about a delivery or a look at the branch, and why: kept for people, shown by `hookd why`."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from hookd.model.ids import AppName, CommitId, DeploymentId

# A stranger's text: who shows it escapes it, and nobody stores more of it than this.
SHORT_TEXT_LENGTH: Final = 300
ShortText = Annotated[str, StringConstraints(max_length=SHORT_TEXT_LENGTH)]


def truncate(text: str, most: int = SHORT_TEXT_LENGTH) -> str:
    """Bring a text to the length that is kept, in characters; a file name that is no UTF-8 may stand in it."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


# A moment that the clock on every wall can show: of those at the ends of time `astimezone` makes an error.
Timestamp = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]


class Verdict(StrEnum):
    """What was decided."""

    QUEUED = "queued"  # A deployment was asked for, which waits or runs.
    COALESCED = "joined"  # The deployment that waits already will do it.
    DUPLICATE = "duplicate"  # This delivery was answered before.
    IGNORED = "ignored"  # It is not about this app: another event, repository or branch.
    REFUSED = "refused"  # Its signature is not right; which check failed is the operator's to know.
    UNREACHABLE = "unreachable"  # The git host could not be asked.
    UNCHANGED = "unchanged"  # The head serves already.
    SKIPPED = "filtered"  # The head changed none of the app's paths.
    QUARANTINED = "quarantined"  # The head was found bad before.
    PINNED = "pinned"  # A person chose another commit.
    FROZEN = "frozen"  # A person froze the app.
    THAWED = "thawed"  # A person ended that.
    WAITING = "waiting"  # The last try is too short a while ago, or a person must act.
    STOPPED = "stopped"  # A person stopped the app's service.
    ENDED = "ended"  # A deployment came to its ending; `why` begins with its name.


class Assessment(BaseModel):
    """A verdict and why, in one sentence."""

    model_config = ConfigDict(frozen=True)
    verdict: Verdict
    why: str


class Decision(BaseModel):
    """One decision as it is kept: when, about what, what was seen, what was decided.

    `source` tells who decided: the receiver about a delivery, a look at the branch (reconcile), a deployment, or a
    person about what is deployed from now on.
    """

    model_config = ConfigDict(frozen=True)
    at: Timestamp
    app: AppName | None = None
    source: Literal["delivery", "reconcile", "deployment", "person"]
    verdict: Verdict
    why: ShortText
    event: ShortText | None = None
    delivery: ShortText | None = None
    repository: ShortText | None = None
    ref: ShortText | None = None
    claimed_commit: CommitId | None = None
    head: CommitId | None = None
    deployed: CommitId | None = None
    running: ShortText | None = None
    deployment: DeploymentId | None = None


class Lag(BaseModel):
    """That an app does not serve its branch's head: by how many commits, since when, and why.

    `commits` is None when they cannot be counted: the head is not fetched yet, or its history was rewritten.
    """

    model_config = ConfigDict(frozen=True)
    commits: int | None
    since: AwareDatetime
    verdict: Verdict
    why: str

    def said(self, now: datetime) -> str:
        """Put it into one sentence."""
        return f"{self.far(now)}, because {self.why}"

    def far(self, now: datetime) -> str:
        """Say by how much, and for how long."""
        since = f"for {_format_duration(now - self.since)}"
        if self.verdict is Verdict.UNREACHABLE:
            return f"head not known {since}"
        by = {None: "", 1: " by 1 commit"}.get(self.commits, f" by {self.commits} commits")
        return f"behind head{by} {since}"


def _format_duration(time: timedelta) -> str:
    minutes = max(0, int(time.total_seconds() // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
