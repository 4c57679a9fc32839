"""The times of polls and retries."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Step, Trigger
from hookd.model.ids import new_deployment_id
from worker.reconcile.schedule import build_retry_at, needs_poll, repair_retry_at

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HEAD, OLD = "a" * 40, "b" * 40


def polled(seconds_ago: float, every: int = 180, app: str = "shop") -> bool:
    now = NOW.timestamp()
    return needs_poll(app, every, now - seconds_ago, now=now, pace=30)


@pytest.mark.threat(5)
@pytest.mark.promise(12)
def test_no_poll_comes_too_late() -> None:
    """An app that is not polled now is polled in the next round, before its time is over."""
    for seconds in range(150):
        assert polled(seconds) or seconds + 30 <= 180
    assert all(polled(seconds) for seconds in range(150, 400))


def test_no_poll_comes_much_too_early() -> None:
    assert not any(polled(seconds) for seconds in range(120))


@pytest.mark.threat(40)
def test_polls_are_spread() -> None:
    at = [next(seconds for seconds in range(200) if polled(seconds, app=f"app-{number}")) for number in range(50)]
    assert len(set(at)) > 10


@pytest.mark.threat(32)
def test_unknown_last_poll_needs_another() -> None:
    assert needs_poll("shop", 180, None, now=NOW.timestamp(), pace=30)
    assert polled(-5), "the clock was set back"


def test_no_poll_when_switched_off() -> None:
    assert not needs_poll("shop", 0, None, now=NOW.timestamp(), pace=30)


def test_edited_app_is_polled() -> None:
    now = NOW.timestamp()
    found = [
        needs_poll("shop", 180, now - 10, now=now, pace=30, edited=edited) for edited in (now - 5, now - 15, now + 5)
    ]
    assert found == [True, False, False]


def test_short_interval_polls_each_round() -> None:
    assert polled(0, every=20)


def tries(*ended: tuple[Status, int], **more: Any) -> list[Deployment]:
    """Build deployments that ended so many minutes ago, the newest first."""
    return [one(status, minutes, **more) for status, minutes in ended]


def one(
    status: Status,
    minutes: int,
    commit: str | None = HEAD,
    steps: Sequence[str] = (),
    claimed: str | None = None,
) -> Deployment:
    at = NOW - timedelta(minutes=minutes)
    return Deployment(
        id=new_deployment_id("shop", at),
        app="shop",
        trigger=Trigger.RECONCILE,
        status=status,
        created_at=at,
        ended_at=at,
        claimed_commit=claimed,
        commit=commit,
        steps=tuple(Step(name=name, started_at=at) for name in steps),
    )


@pytest.mark.threat(37)
@pytest.mark.parametrize(("failures", "minutes"), [(1, 3), (2, 6), (3, 12), (4, 24), (5, 48), (6, 60), (20, 60)])
def test_backoff_grows_up_to_an_hour(failures: int, minutes: int) -> None:
    history = tries(*((Status.FAILED, number) for number in range(failures)))
    assert build_retry_at(history, HEAD) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "history",
    [
        [],
        tries((Status.SUCCEEDED, 1), (Status.FAILED, 2)),
        tries((Status.FAILED, 1), commit=OLD),
    ],
    ids=["nothing yet", "it went well since", "another commit failed"],
)
def test_no_backoff(history: list[Deployment]) -> None:
    assert build_retry_at(history, HEAD) is None


def test_backoff_counts_from_the_last_ending() -> None:
    """A superseded deployment was never tried. A waiting one has no ending yet."""
    waiting = one(Status.QUEUED, 0).model_copy(update={"ended_at": None})
    history = [waiting, *tries((Status.SUPERSEDED, 0), (Status.FAILED, 2), (Status.SUPERSEDED, 3), (Status.FAILED, 9))]
    assert build_retry_at(history, HEAD) == NOW + timedelta(minutes=4)
    assert build_retry_at(tries((Status.FAILED, 0), commit=None), HEAD) == NOW + timedelta(minutes=3), (
        "it was not fetched"
    )


@pytest.mark.threat(20)
def test_git_host_outage_costs_no_backoff() -> None:
    """Ten of them would have meant an hour after the host was back."""
    outage = [unfetched(Trigger.PUSH, number) for number in range(10)]
    assert build_retry_at(outage, HEAD) is None
    assert build_retry_at([*outage, one(Status.FAILED, 2)], HEAD) == NOW + timedelta(minutes=1), (
        "the build failed before"
    )


def test_failed_fetch_has_a_backoff() -> None:
    row = [unfetched(Trigger.RECONCILE, number) for number in range(3)]
    assert build_retry_at(row, HEAD) == NOW + timedelta(minutes=12)


@pytest.mark.threat(37)
def test_missing_head_has_a_backoff() -> None:
    """Look and deployment do not see the same: a host that answers now so, now so, must not keep the worker busy."""
    row = [one(Status.UNCHANGED, number, commit=OLD, claimed=HEAD) for number in range(3)]
    assert build_retry_at(row, HEAD) == NOW + timedelta(minutes=12)
    assert build_retry_at([one(Status.SUCCEEDED, 0), *row], HEAD) is None
    assert build_retry_at(row, "c" * 40) is None, "another head has no attempt yet"
    told = [by.model_copy(update={"trigger": Trigger.PUSH}) for by in row]
    assert build_retry_at(told, HEAD) is None, "a push says what its sender wants to say"


def unfetched(trigger: Trigger, minutes: int) -> Deployment:
    step = Step(name="fetch", started_at=NOW, outcome="failed")
    return one(Status.FAILED, minutes, commit=None).model_copy(update={"trigger": trigger, "steps": (step,)})


def test_repairs_have_a_backoff() -> None:
    repairs = [one(Status.SUCCEEDED, 0, steps=["disk_space", "repair"]), one(Status.FAILED, 5, steps=["repair"])]
    assert repair_retry_at(repairs) == NOW + timedelta(minutes=6)
    assert repair_retry_at([one(Status.FAILED, 0), *repairs]) is None, (
        "a build that fails is no reason to leave it broken"
    )
    assert build_retry_at(repairs, HEAD) is None
