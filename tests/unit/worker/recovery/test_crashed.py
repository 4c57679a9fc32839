"""The outcome of a crashed deployment, inferred from its app's journal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.journal import Built, Good, JournalEvent, Pinned, Quarantined, Switched
from worker.recovery.crashed import Outcome, infer_outcome

AT = datetime(2026, 3, 4, tzinfo=UTC)
OWN, OTHER = "shop-20260304T050607000-0a1b2c", "shop-20260303T050607000-0a1b2c"
OLD, NEW = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb"
COMMIT = "b" * 40
KILLED = "the worker died while it ran"


def own(kind: type[Any], release: str = NEW, **more: Any) -> JournalEvent:
    found: JournalEvent = kind(at=AT, deployment=OWN, release=release, **more)
    return found


def other(kind: type[Any], release: str = OLD, **more: Any) -> JournalEvent:
    found: JournalEvent = kind(at=AT, deployment=OTHER, release=release, **more)
    return found


BEFORE = (other(Built, commit="a" * 40), other(Switched), other(Good))
BUILT = own(Built, commit=COMMIT)
BAD = Quarantined(at=AT, deployment=OWN, commit=COMMIT, served=True, cause="it answered 500")
REFUSED = Quarantined(at=AT, deployment=OWN, commit=COMMIT, served=False, cause="it does not start")


def ending(*events: JournalEvent, release: str | None = None, before: Sequence[JournalEvent] = BEFORE) -> Outcome:
    record = Deployment(id=OWN, app="shop", trigger=Trigger.PUSH, status=Status.RUNNING, created_at=AT, release=release)
    return infer_outcome(record, [*before, *events], Status.FAILED, KILLED)


@pytest.mark.threat(46)
def test_verified_release_is_a_success() -> None:
    cause = f"{KILLED}, after the health check of {NEW}"
    assert ending(BUILT, own(Switched), own(Good)) == Outcome(Status.SUCCEEDED, cause)


def test_first_release_can_succeed() -> None:
    assert ending(BUILT, own(Switched), own(Good), before=()).status is Status.SUCCEEDED


@pytest.mark.parametrize("events", [(), (BUILT,), (REFUSED,), (BUILT, BAD)])
def test_no_switch_is_a_failure(events: Sequence[JournalEvent]) -> None:
    assert ending(*events) == Outcome(Status.FAILED, KILLED)


def test_unverified_release_is_a_failure() -> None:
    found = ending(BUILT, own(Switched))
    assert found.status is Status.FAILED
    assert found.cause.startswith(f"{KILLED}, after switching to {NEW} and before its health check")


def test_recovery_of_another_is_no_success() -> None:
    before = (*BEFORE, other(Built, NEW, commit=COMMIT), other(Switched, NEW))
    assert ending(own(Switched, OLD), own(Good, OLD), before=before) == Outcome(Status.FAILED, KILLED)


def test_verified_old_release_is_a_rollback() -> None:
    found = ending(BUILT, own(Switched), BAD, own(Switched, OLD), own(Good, OLD))
    assert found.status is Status.ROLLED_BACK
    assert found.cause == f"it answered 500; {OLD} serves again ({KILLED})"


@pytest.mark.threat(46)
def test_unfinished_rollback_is_a_failure() -> None:
    assert ending(BUILT, own(Switched), BAD, own(Switched, OLD)).status is Status.FAILED


def test_manual_rollback_is_a_success() -> None:
    pin = Pinned(at=AT, deployment=OWN, commit="a" * 40, head=COMMIT)
    before = (*BEFORE, other(Built, NEW, commit=COMMIT), other(Switched, NEW), other(Good, NEW))
    found = ending(own(Switched, OLD), pin, own(Good, OLD), release=OLD, before=before)
    assert found.status is Status.SUCCEEDED


def test_success_of_another_is_ignored() -> None:
    later = (other(Built, "000003-cccccccccccc", commit="c" * 40), other(Switched, "000003-cccccccccccc"))
    assert ending(BUILT, *later, other(Good, "000003-cccccccccccc")) == Outcome(Status.FAILED, KILLED)
