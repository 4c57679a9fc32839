"""The deployment record: transitions, times and steps."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from pydantic import ValidationError

from hookd.model.deployment import (
    ENDINGS,
    MANUAL_TRIGGERS,
    RETRYABLE_ENDINGS,
    TRANSITIONS,
    Deployment,
    IllegalTransition,
    Status,
    Step,
    Trigger,
    advance,
    with_step,
)
from hookd.model.hint import Hint, HintKind

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = AT + timedelta(seconds=9)
ID = "shop-20260304T050607000-0a1b2c"

# Written out a second time on purpose: a change of the table must be meant.
ALLOWED = {
    (Status.QUEUED, Status.RUNNING),
    (Status.QUEUED, Status.SUPERSEDED),
    (Status.QUEUED, Status.FAILED),
    (Status.QUEUED, Status.CANCELLED),
    (Status.RUNNING, Status.SUCCEEDED),
    (Status.RUNNING, Status.UNCHANGED),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.ROLLED_BACK),
    (Status.RUNNING, Status.ROLLBACK_FAILED),
    (Status.RUNNING, Status.CANCELLED),
}
EVERY_PAIR = list(product(Status, Status))


def deployment(status: Status = Status.QUEUED) -> Deployment:
    return Deployment(id=ID, app="shop", trigger=Trigger.PUSH, status=status, created_at=AT)


@pytest.mark.threat(53)
@pytest.mark.parametrize(("before", "after"), EVERY_PAIR)
def test_transitions_follow_the_table(before: Status, after: Status) -> None:
    if (before, after) in ALLOWED:
        assert advance(deployment(before), after, LATER).status is after
        return
    with pytest.raises(IllegalTransition, match=f"{ID} is {before} and cannot become {after}"):
        advance(deployment(before), after, LATER)


def test_the_table_speaks_of_every_status() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("status", Status)
def test_endings_have_no_successor(status: Status) -> None:
    follows = any(before is status for before, _ in ALLOWED)
    assert deployment(status).ended is not follows
    assert (status in ENDINGS) is not follows


def test_retryable_endings() -> None:
    assert {Status.FAILED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.CANCELLED} == RETRYABLE_ENDINGS
    assert RETRYABLE_ENDINGS <= ENDINGS


def test_pushes_are_not_manual() -> None:
    assert {Trigger.MANUAL, Trigger.ROLLBACK, Trigger.REPLAY} == MANUAL_TRIGGERS


def test_start_has_a_time() -> None:
    running = advance(deployment(), Status.RUNNING, LATER)
    assert (running.created_at, running.started_at, running.ended_at) == (AT, LATER, None)


@pytest.mark.parametrize("ending", sorted(ENDINGS - {Status.SUPERSEDED}))
def test_ending_has_both_times(ending: Status) -> None:
    running = advance(deployment(), Status.RUNNING, AT)
    ended = advance(running, ending, LATER, cause="it was so", hint=Hint(HintKind.DEPLOY))
    assert (ended.started_at, ended.ended_at, ended.cause, ended.hint) == (
        AT,
        LATER,
        "it was so",
        Hint(HintKind.DEPLOY),
    )


def test_changes_set_no_status_or_time() -> None:
    ended = advance(deployment(), Status.FAILED, LATER, status=Status.SUCCEEDED, ended_at=AT)
    assert (ended.status, ended.ended_at) == (Status.FAILED, LATER)


def test_advance_copies_the_record() -> None:
    old = deployment()
    advance(old, Status.RUNNING, LATER)
    assert old == deployment()
    with pytest.raises(ValidationError, match="frozen"):
        old.status = Status.RUNNING  # type: ignore[misc]


def test_record_survives_json() -> None:
    step = Step(name="fetch", started_at=AT, seconds=0.5, outcome="done", detail="main")
    record = deployment().model_copy(update={"steps": (step,), "claimed_commit": "a" * 40, "delivery": "d-1"})
    assert Deployment.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "../../etc/passwd"),
        ("app", "Shop"),
        ("status", "done"),
        ("trigger", "cron"),
        ("claimed_commit", "--upload-pack=x"),
        ("commit", "a" * 41),
        ("release", "../000001-aaaaaaaaaaaa"),
        ("replay_of", "x"),
        ("superseded_by", "x"),
        ("created_at", "yesterday"),
        ("surprise", "field"),
    ],
)
def test_unknown_field_is_refused(field: str, value: str) -> None:
    table = {**deployment().model_dump(mode="json"), field: value}
    with pytest.raises(ValidationError) as raised:
        Deployment.model_validate(table)
    assert [error["loc"] for error in raised.value.errors()] == [(field,)]


def test_step_end_replaces_its_start() -> None:
    started = Step(name="fetch", started_at=AT)
    done = started.model_copy(update={"seconds": 1.0, "outcome": "done"})
    assert with_step(with_step(deployment(), started), done).steps == (done,)


def test_repeated_step_keeps_the_first() -> None:
    first = Step(name="health", started_at=AT, seconds=1.0, outcome="failed")
    again = Step(name="health", started_at=LATER)
    assert with_step(with_step(deployment(), first), again).steps == (first, again)


def test_inner_step_keeps_the_outer() -> None:
    outer, inner = Step(name="build", started_at=AT), Step(name="venv", started_at=LATER)
    assert with_step(with_step(deployment(), outer), inner).steps == (outer, inner)
