"""The record of one deployment, its JSON, and the only table of status transitions."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field

from hookd.model.hint import Hint
from hookd.model.ids import AppName, CommitId, DeploymentId, ReleaseName, WantedCommit, app_of

# `astimezone()` overflows near datetime.min and datetime.max.
Timestamp = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
# A record takes a few kilobytes. Parsing takes twenty times the size of the text.
MAX_RECORD_BYTES: Final = 256 * 1024
_CAUSE_LENGTH: Final = 10_000


class Status(StrEnum):
    """The status of a deployment. Every status but the first two is an ending."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """The origin of a deployment."""

    PUSH = "push"
    REDELIVERY = "redelivery"
    UPDATE = "update"
    MANUAL = "manual"
    ROLLBACK = "rollback"
    REPLAY = "replay"
    UNPIN = "unpin"
    RECONCILE = "reconcile"


# These redeploy a commit that already serves, and retry a quarantined one.
MANUAL_TRIGGERS: Final = frozenset({Trigger.MANUAL, Trigger.ROLLBACK, Trigger.REPLAY})

ENDINGS: Final = frozenset(Status) - {Status.QUEUED, Status.RUNNING}
# An ending has no successor: a replay is a new record.
TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.SUPERSEDED, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: ENDINGS - {Status.SUPERSEDED},
    **dict.fromkeys(ENDINGS, frozenset()),
}
# After these, a redelivery of the same push starts a new deployment.
RETRYABLE_ENDINGS: Final = frozenset({Status.FAILED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.CANCELLED})


class IllegalTransition(ValueError):
    """The table has no such transition."""


class Step(BaseModel, frozen=True, extra="forbid"):
    """One step of a deployment. `seconds` is None while it runs."""

    name: str
    started_at: Timestamp
    seconds: float | None = None
    outcome: Literal["running", "done", "failed"] = "running"
    detail: str | None = None


class Deployment(BaseModel, frozen=True, extra="forbid"):
    """One attempt to bring an app to a commit. Its id is also the id of its RQ job.

    `claimed_commit` is informational: the commit that the sender or the reconciler named. `commit` is the commit that
    the worker found at the branch's head and deployed. `fresh` asks for a new environment, also where one fits.
    `release` names what it built or went back to, also after that directory is pruned. `coalesced` counts the pushes
    that joined this deployment while it waited.
    """

    id: DeploymentId
    app: AppName
    trigger: Trigger
    status: Status = Status.QUEUED
    created_at: Timestamp
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    delivery: str | None = None
    claimed_commit: CommitId | None = None
    pinned_commit: WantedCommit | None = None
    fresh: bool = False
    replay_of: DeploymentId | None = None
    superseded_by: DeploymentId | None = None
    coalesced: int = 0
    commit: CommitId | None = None
    subject: str | None = None
    author: str | None = None
    previous_commit: CommitId | None = None
    release: ReleaseName | None = None
    cause: str | None = None
    hint: Hint | None = None
    steps: tuple[Step, ...] = ()

    @property
    def ended(self) -> bool:
        """True if the status is final."""
        return self.status in ENDINGS


def advance(deployment: Deployment, to: Status, at: datetime, **changes: Any) -> Deployment:
    """Return the record with its next status and the time of the transition. Raises IllegalTransition."""
    if to not in TRANSITIONS[deployment.status]:
        raise IllegalTransition(f"{deployment.id} is {deployment.status} and cannot become {to}")
    stamp = {"started_at": at} if to is Status.RUNNING else {"ended_at": at}
    return deployment.model_copy(update={**changes, "status": to, **stamp})


def with_step(deployment: Deployment, step: Step) -> Deployment:
    """Return the record with `step` added, or in place of the running step of that name."""
    kept = tuple(old for old in deployment.steps if not (old.name == step.name and old.outcome == "running"))
    return deployment.model_copy(update={"steps": (*kept, step)})


class StepName(StrEnum):
    """The steps of a deployment in their order. A handover uses some of the later ones."""

    DISK_SPACE = "disk_space"
    FETCH = "fetch"
    REPAIR = "repair"
    COMPARE = "compare"
    CHECKOUT = "checkout"
    DEPENDENCIES = "dependencies"
    SHARED_FILES = "shared_files"
    BUILD = "build"
    CHECK = "preflight"  # Named like its key `service.preflight`, which users know.
    OWNERSHIP = "ownership"
    BACKUP = "backup"
    RELEASE_COMMANDS = "release_commands"
    FLUSH = "flush"
    RECOVER = "recover"
    SWITCH = "switch"
    START = "start"
    RESTART = "restart"
    HEALTH = "health"
    PROCESSES = "processes"
    RESTART_ALSO = "restart_also"
    ROLL_BACK = "roll_back"
    STOP_OLD = "stop_old"
    PRUNE = "prune"


# Steps that bring back a known good release. Their number decides the backoff of the next repair.
REPAIR_STEPS: Final = frozenset({StepName.REPAIR, StepName.RECOVER})


def encode(deployment: Deployment) -> bytes:
    """Return a record as JSON. A long cause is cut."""
    fields = deployment.model_dump(mode="json", exclude={"coalesced"})
    fields["cause"] = fields["cause"] and fields["cause"][:_CAUSE_LENGTH]
    # A cause may hold a file name that is not UTF-8.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")


def decode(deployment_id: str, raw: Any, coalesced: Any = None) -> Deployment | None:
    """Return a record with its number of coalesced pushes, or None for an invalid one.

    Any writer to Redis may have written it.
    """
    if raw is None or len(raw) > MAX_RECORD_BYTES:
        return None
    try:
        record = Deployment.model_validate_json(raw).model_copy(update={"coalesced": max(0, int(coalesced or 0))})
        return record if record.id == deployment_id and record.app == app_of(deployment_id) else None
    except ValueError:
        return None
