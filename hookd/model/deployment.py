"""The record of one deployment, and the one table that says how its status may change."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from hookd.model.decision import Timestamp
from hookd.model.ids import AppName, CommitId, DeploymentId, ReleaseName, WantedCommit


class Status(StrEnum):
    """Where a deployment stands; every status but the first two is an ending."""

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
    """What asked for a deployment."""

    PUSH = "push"
    REDELIVERY = "redelivery"
    UPDATE = "update"
    MANUAL = "manual"
    ROLLBACK = "rollback"
    REPLAY = "replay"
    UNPIN = "unpin"
    RECONCILE = "reconcile"


# A person asked for these: they redeploy a commit that already serves, and try a quarantined one again.
MANUAL_TRIGGERS: Final = frozenset({Trigger.MANUAL, Trigger.ROLLBACK, Trigger.REPLAY})

# The only place that says which status may follow which. An ending has no successor: a replay is a new record.
TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.SUPERSEDED, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {
            Status.SUCCEEDED,
            Status.UNCHANGED,
            Status.FAILED,
            Status.ROLLED_BACK,
            Status.ROLLBACK_FAILED,
            Status.CANCELLED,
        }
    ),
    Status.SUCCEEDED: frozenset(),
    Status.UNCHANGED: frozenset(),
    Status.SUPERSEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.ROLLED_BACK: frozenset(),
    Status.ROLLBACK_FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}

ENDINGS: Final = frozenset(status for status, following in TRANSITIONS.items() if not following)
# Endings that leave what was asked for undone: the same delivery again starts a new deployment.
RETRYABLE_ENDINGS: Final = frozenset({Status.FAILED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.CANCELLED})


class IllegalTransition(ValueError):
    """A status was asked to follow one it cannot follow."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Frozen):
    """One step of a running deployment; `seconds` is absent while it runs."""

    name: str
    started_at: Timestamp
    seconds: float | None = None
    outcome: Literal["running", "done", "failed"] = "running"
    detail: str | None = None


class Deployment(_Frozen):
    """One attempt to bring an app to a commit; its id is also the id of its RQ job.

    `claimed_commit` is what the sender said, or a look at the branch saw; nothing is deployed because of it. `commit`
    is what the worker found at the branch's head and worked with. `cause` is one sentence for people, `hint` the next
    command to type.
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
    replay_of: DeploymentId | None = None
    superseded_by: DeploymentId | None = None
    joined: int = 0
    commit: CommitId | None = None
    subject: str | None = None
    author: str | None = None
    previous_commit: CommitId | None = None
    release: ReleaseName | None = None
    cause: str | None = None
    hint: str | None = None
    steps: tuple[Step, ...] = ()

    @property
    def ended(self) -> bool:
        """Tell whether nothing will change this record any more."""
        return self.status in ENDINGS


def advance(deployment: Deployment, to: Status, at: datetime, **changes: Any) -> Deployment:
    """Return the record with the next status, its time stamped here.

    Raises IllegalTransition when the table has no such step.
    """
    if to not in TRANSITIONS[deployment.status]:
        raise IllegalTransition(f"{deployment.id} is {deployment.status} and cannot become {to}")
    stamp = {"started_at": at} if to is Status.RUNNING else {"ended_at": at}
    return deployment.model_copy(update={**changes, "status": to, **stamp})


def with_step(deployment: Deployment, step: Step) -> Deployment:
    """Return the record with `step` added, or put in place of the step of that name that is still running."""
    kept = tuple(old for old in deployment.steps if not (old.name == step.name and old.outcome == "running"))
    return deployment.model_copy(update={"steps": (*kept, step)})


class StepName(StrEnum):
    """What a deployment does, one after the other; a handover uses some of the later ones."""

    DISK_SPACE = "space"
    FETCH = "fetch"
    REPAIR = "mend"
    COMPARE = "compare"
    CHECKOUT = "checkout"
    DEPENDENCIES = "dependencies"
    SHARED_FILES = "share"
    BUILD = "build"
    PREFLIGHT = "preflight"
    OWNERSHIP = "ownership"
    BEFORE_SWITCH = "before_switch"
    FLUSH = "flush"
    RECOVER = "settle"
    SWITCH = "switch"
    START = "start"
    RESTART = "restart"
    HEALTH = "health"
    ROLL_BACK = "roll back"
    STOP_OLD = "stop old"
    PRUNE = "prune"


# By these is counted how often it was tried to bring back what should run.
REPAIR_STEPS: Final = frozenset({StepName.REPAIR, StepName.RECOVER})
