"""The reconciler's decisions on observations of an app."""

from datetime import timedelta
from typing import Any

import pytest

from hookd.model.decision import Assessment, Freeze, Lag, Verdict
from hookd.model.deployment import Deployment, Status, StepName
from hookd.model.journal import AppState, Pinned, Quarantined, Release, Skipped
from hookd.queue.published import AppStatus
from tests.unit.worker.reconcile.test_schedule import NOW, one
from worker.reconcile.assess import DeploymentNeeded, Observation, assess
from worker.report.status import compute_lag, with_journal_state
from worker.service.drift import Drift, DriftReport

A, B = "a" * 40, "b" * 40
STAMP: dict[str, Any] = {"at": NOW, "deployment": "shop-20260304T050607000-0a1b2c"}
WELL = DriftReport("shop runs 000001-aaaaaaaaaaaa")
SICK = DriftReport("shop has failed", (Drift("service", "shop", "000001-aaaaaaaaaaaa", "shop has failed"),))


def state(**more: Any) -> AppState:
    release = Release(name="000001-aaaaaaaaaaaa", commit=A, good=True)
    return AppState(releases=(release,), current=release.name, good_order=(release.name,), **more)


def found(**more: Any) -> Observation:
    return Observation(**{"app": "shop", "state": state(), "running": WELL, "head": B, **more})


# The decision to request a deployment. Every other decision has a verdict.
NEEDED = "needed"


def result(seen: Observation) -> str:
    decision = assess(seen, NOW)
    return NEEDED if isinstance(decision, DeploymentNeeded) else decision.verdict


FREEZE = Freeze(reason="the fair", since=NOW)
BAD = Quarantined(**STAMP, commit=B, served=True, cause="it hangs")
WRONG = Quarantined(**STAMP, commit=B, served=False, cause="KeyError: 'TOKEN'", configured_at=NOW)
EARLIER, LATER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
FAILED = (one(Status.FAILED, 1, commit=B),)
CHOSEN = (one(Status.FAILED, 1, commit=B).model_copy(update={"pinned_commit": B}),)
CANCELLED = (one(Status.CANCELLED, 1),)
MENDED = (one(Status.SUCCEEDED, 1, steps=["repair"]),)
AGES_AGO = {"since": NOW - timedelta(hours=5)}
GONE: dict[str, Any] = {"head": None, "problem": "the host is away"}


@pytest.mark.parametrize(
    ("seen", "expected", "text"),
    [
        (found(), NEEDED, "bbbbbbbbbbbb is the branch's head, and aaaaaaaaaaaa serves"),
        (found(head=A), Verdict.UNCHANGED, "aaaaaaaaaaaa is already deployed"),
        (found(freeze=FREEZE), Verdict.FROZEN, "the fair"),
        (found(freeze=FREEZE, running=SICK), Verdict.FROZEN, "the fair"),
        (
            found(running=DriftReport("shop is stopped", is_stopped=True)),
            Verdict.STOPPED,
            "stopped by a person",
        ),
        (found(state=state(quarantined=(BAD,))), Verdict.QUARANTINED, "it hangs"),
        (found(state=state(pin=Pinned(**STAMP, commit=A, head=B))), Verdict.PINNED, "pinned"),
        (found(state=state(skipped=Skipped(**STAMP, commit=B, base=A))), Verdict.SKIPPED, "none of the app's paths"),
        (found(**GONE), Verdict.UNREACHABLE, "the host is away"),
        (found(state=AppState()), Verdict.WAITING, "nothing is deployed yet"),
        (found(state=AppState(), **GONE), Verdict.UNREACHABLE, "the host is away"),
        (found(state=AppState(), history=FAILED), Verdict.WAITING, "and nothing serves; the next try"),
        (found(state=AppState(), history=FAILED, head=A), NEEDED, "aaaaaaaaaaaa is the branch's head, and nothing"),
        (found(state=AppState(), history=FAILED, configured_at=NOW), NEEDED, "nothing serves"),
        (found(state=AppState(quarantined=(BAD,)), history=FAILED), Verdict.QUARANTINED, "it hangs"),
        (found(state=AppState(), history=CHOSEN, head=A), Verdict.WAITING, "nothing is deployed yet"),
        (found(state=AppState(), history=CANCELLED, head=A), Verdict.WAITING, "nothing is deployed yet"),
        (found(history=FAILED), Verdict.WAITING, "the next try is at 05:08 UTC"),
        (found(history=FAILED, configured_at=NOW), NEEDED, "is the branch's head"),
        (found(history=FAILED, configured_at=NOW - timedelta(hours=1)), Verdict.WAITING, "the next try is at"),
        (found(history=FAILED, configured_at=NOW + timedelta(hours=1)), Verdict.WAITING, "the next try is at"),
        (found(state=state(quarantined=(WRONG,)), configured_at=NOW), Verdict.QUARANTINED, "until the app or its"),
        (found(state=state(quarantined=(WRONG,)), configured_at=LATER, history=FAILED), Verdict.WAITING, "next try"),
        (found(state=state(quarantined=(WRONG,)), configured_at=EARLIER), NEEDED, "is the branch's head"),
        (found(head=A, running=SICK), NEEDED, "shop has failed"),
        (found(running=SICK, **GONE), NEEDED, "shop has failed"),
        (found(running=SICK, state=state(quarantined=(BAD,))), NEEDED, "shop has failed"),
        (found(running=SICK, history=FAILED), NEEDED, "shop has failed"),
        (found(head=A, running=SICK, history=MENDED), Verdict.WAITING, "the next try is at 05:08 UTC"),
        (found(head=A, state=state(verified=False)), NEEDED, "interrupted"),
        (found(state=state(verified=False, quarantined=(BAD,))), NEEDED, "interrupted"),
    ],
)
def test_decision_table(seen: Observation, expected: object, text: str) -> None:
    decision = assess(seen, NOW)
    assert (result(seen), text in decision.why) == (expected, True), decision


def test_future_ending_is_ignored() -> None:
    """A worker whose clock was an hour ahead when a deployment failed."""
    seen = found(history=(one(Status.FAILED, -60, commit=B),))
    assert result(seen) == NEEDED


def test_the_last_failure_is_named() -> None:
    """Otherwise an app would lag because it lags."""
    cause = "flask db upgrade ended with status 1"
    failed = one(Status.FAILED, 1, commit=B).model_copy(update={"cause": cause})
    older = one(Status.FAILED, 9, commit=B).model_copy(update={"cause": "the disk is full"})
    told = "bbbbbbbbbbbb is the branch's head, and aaaaaaaaaaaa serves; the last try failed: " + cause
    assert assess(found(history=(failed, older)), NOW).why == f"{told}; the next try is at 05:11 UTC"
    assert assess(found(history=(failed, older)), NOW + timedelta(hours=1)).why == told, "it is tried again"
    other = one(Status.UNCHANGED, 60, commit=A, claimed=B).model_copy(update={"cause": "it serves already"})
    assert assess(found(history=(other,)), NOW).why.endswith("; the last try found: it serves already")


def test_failure_of_another_commit_is_ignored() -> None:
    failed = one(Status.FAILED, 1, commit=A).model_copy(update={"cause": "the disk is full"})
    well = one(Status.SUCCEEDED, 0, commit=A)
    for history in ((failed,), (well, failed)):
        assert assess(found(history=history), NOW).why == "bbbbbbbbbbbb is the branch's head, and aaaaaaaaaaaa serves"


def test_failed_repair_delays_no_commit() -> None:
    assert result(found(running=SICK, history=MENDED)) == NEEDED


OLDER = Drift("release", "shop", "000001-aaaaaaaaaaaa", "shop runs another release than 000001-aaaaaaaaaaaa")
ELSEWHERE = DriftReport(OLDER.text, (OLDER,))


def in_vain(hours: int, detail: str = OLDER.key) -> Deployment:
    """Build a deployment whose restart of the service changed nothing."""
    repair = one(Status.FAILED, hours * 60, commit=A, steps=[StepName.REPAIR, StepName.COMPARE])
    steps = [step.model_copy(update={"outcome": "failed", "detail": detail}) for step in repair.steps]
    return repair.model_copy(update={"steps": tuple(steps)})


@pytest.mark.threat(37)
def test_a_futile_restart_is_not_repeated() -> None:
    """The service takes requests, and each restart would disturb them."""
    decision = assess(found(head=A, running=ELSEWHERE, history=(in_vain(5),)), NOW)
    assert isinstance(decision, Assessment)
    assert decision.verdict is Verdict.WAITING
    assert decision.why.startswith(f"{OLDER.text}, also after a restart")
    later = (one(Status.UNCHANGED, 1, commit=A), in_vain(5))
    assert result(found(head=A, running=ELSEWHERE, history=later)) == Verdict.WAITING


@pytest.mark.parametrize(
    "seen",
    [
        found(head=A, running=ELSEWHERE, history=(in_vain(5, "release shop 000000-bbbbbbbbbbbb"),)),
        found(head=A, running=ELSEWHERE, history=(one(Status.SUCCEEDED, 300, steps=["repair"]),)),
        found(head=A, running=SICK, history=(in_vain(5),)),
        found(running=ELSEWHERE, history=(in_vain(5),)),
        found(head=A, state=state(verified=False), history=(in_vain(5),)),
    ],
    ids=["another release since", "it helped then", "it has failed", "there is a newer commit", "it was interrupted"],
)
def test_other_work_is_done(seen: Observation) -> None:
    assert result(seen) == NEEDED


def late(seen: Observation, earlier: AppStatus | None = None) -> Lag | None:
    reason = assess(seen, NOW)
    if isinstance(reason, DeploymentNeeded):
        reason = Assessment(verdict=Verdict.QUEUED, why=reason.why)
    return compute_lag(seen.state, seen.head, reason, earlier or AppStatus(app="shop"), NOW)


@pytest.mark.parametrize(
    "seen",
    [
        found(head=A),
        found(head=A, running=SICK),
        found(state=AppState()),
        found(state=state(skipped=Skipped(**STAMP, commit=B, base=A))),
    ],
    ids=["the head serves", "the head should serve", "nothing serves yet", "the head is none of its business"],
)
def test_no_lag(seen: Observation) -> None:
    assert late(seen) is None


def test_failed_first_deployment_lags() -> None:
    lag = late(found(state=AppState(), history=FAILED))
    assert lag is not None and "the next try" in lag.why
    later = late(found(state=AppState(), history=FAILED), AppStatus(app="shop", lag=lag.model_copy(update=AGES_AGO)))
    assert later is not None and later.since == AGES_AGO["since"]


@pytest.mark.threat(38)
def test_lag_keeps_its_start() -> None:
    first = late(found())
    assert first is not None
    assert (first.since, first.verdict) == (NOW, Verdict.QUEUED)
    before = first.model_copy(update={"since": NOW - timedelta(hours=5)})
    earlier = AppStatus(app="shop", deployed_commit=A, lag=before)
    frozen = late(found(freeze=FREEZE), earlier)
    assert frozen is not None
    assert (frozen.since, frozen.verdict) == (before.since, Verdict.FROZEN)
    another = late(found(), earlier.model_copy(update={"deployed_commit": B}))
    assert another is not None
    assert another.since == NOW


def test_lag_ends_with_the_head() -> None:
    view = AppStatus(app="shop", head=A, lag=late(found()))
    assert with_journal_state(view, state()).lag is None
    assert with_journal_state(view.model_copy(update={"head": B}), state()).lag is not None


def test_unknown_head_ends_when_seen() -> None:
    """A push whose fetch fails publishes the status too, with an older head."""
    alarm = Lag(commits=None, since=NOW - timedelta(hours=5), verdict=Verdict.UNREACHABLE, why="the host is away")
    view = AppStatus(app="shop", head=A, lag=alarm)
    assert with_journal_state(view, state()).lag == alarm
    assert with_journal_state(view, state(), head_seen=True).lag is None
    assert with_journal_state(view.model_copy(update={"head": B}), state(), head_seen=True).lag is None


@pytest.mark.threat(38)
@pytest.mark.promise(14)
@pytest.mark.parametrize(
    ("commits", "minutes", "verdict", "said"),
    [
        (3, 12, Verdict.FROZEN, "behind head by 3 commits for 12 min, because of the fair"),
        (1, 0, Verdict.FROZEN, "behind head by 1 commit for 0 s, because of the fair"),
        (None, 300, Verdict.FROZEN, "behind head for 5 h, because of the fair"),
        (None, 6000, Verdict.UNREACHABLE, "head not known for 4 d, because of the fair"),
    ],
)
def test_lag_sentence(commits: int | None, minutes: int, verdict: Verdict, said: str) -> None:
    one = Lag(commits=commits, since=NOW - timedelta(minutes=minutes), verdict=verdict, why="of the fair")
    assert one.sentence(NOW) == said
