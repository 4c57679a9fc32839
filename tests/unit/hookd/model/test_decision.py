"""The check of a commit: freeze, pin, quarantine, paths and the current release, for each trigger."""

from datetime import UTC, datetime, timedelta

import pytest

from hookd.model.decision import Assessment, Freeze, Verdict, block_reason, remedy
from hookd.model.deployment import MANUAL_TRIGGERS, Trigger
from hookd.model.journal import Built, Good, JournalEvent, Pinned, Quarantined, Skipped, Switched, fold

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DEPLOYMENT = "shop-20260304T050607000-0a1b2c"
A, B, C = "a" * 40, "b" * 40, "c" * 40
ONE, TWO = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb"


def deployed(release: str, commit: str) -> list[JournalEvent]:
    """Return the events of a succeeded deployment."""
    return [
        Built(at=AT, deployment=DEPLOYMENT, release=release, commit=commit),
        Switched(at=AT, deployment=DEPLOYMENT, release=release),
        Good(at=AT, deployment=DEPLOYMENT, release=release),
    ]


def quarantined(commit: str, served: bool = True) -> Quarantined:
    return Quarantined(at=AT, deployment=DEPLOYMENT, commit=commit, served=served, cause="it was bad")


def test_edit_lifts_a_quarantine_once() -> None:
    under = quarantined(B, served=False).model_copy(update={"configured_at": AT})
    state = fold([*deployed(ONE, A), under])
    for configured_at, is_blocked in ((None, True), (AT, True), (AT + timedelta(seconds=1), False)):
        assert (block_reason(state, B, Trigger.RECONCILE, None, configured_at) is not None) is is_blocked
    again = fold([*deployed(ONE, A), under, under.model_copy(update={"configured_at": AT + timedelta(seconds=1)})])
    assert block_reason(again, B, Trigger.RECONCILE, None, AT + timedelta(seconds=1)) is not None
    firm = fold([*deployed(ONE, A), quarantined(B)])
    assert block_reason(firm, B, Trigger.RECONCILE, None, AT + timedelta(seconds=1)) is not None


def pinned(commit: str, head: str) -> Pinned:
    return Pinned(at=AT, deployment=DEPLOYMENT, commit=commit, head=head)


def skipped(commit: str, base: str) -> Skipped:
    return Skipped(at=AT, deployment=DEPLOYMENT, commit=commit, base=base)


ROLLED_BACK = [*deployed(ONE, A), Built(at=AT, deployment=DEPLOYMENT, release=TWO, commit=B), quarantined(B)]


def why(events: list[JournalEvent], head: str, trigger: Trigger = Trigger.PUSH) -> Assessment | None:
    return block_reason(fold(events), head, trigger)


REFUSALS: list[tuple[list[JournalEvent], str, Verdict, str]] = [
    (deployed(ONE, A), A, Verdict.UNCHANGED, "aaaaaaaaaaaa is already deployed"),
    (
        [*deployed(ONE, A), pinned(A, B)],
        B,
        Verdict.PINNED,
        "aaaaaaaaaaaa is pinned until a newer commit than bbbbbbbbbbbb",
    ),
    (ROLLED_BACK, B, Verdict.QUARANTINED, "bbbbbbbbbbbb has been quarantined since 2026-03-04 05:06 UTC: it was bad"),
    ([quarantined(B, served=False)], B, Verdict.QUARANTINED, "bbbbbbbbbbbb has been quarantined since"),
    (
        [*deployed(ONE, A), skipped(B, A)],
        B,
        Verdict.SKIPPED,
        "bbbbbbbbbbbb changes none of the app's paths since aaaa",
    ),
]


@pytest.mark.promise(17)
@pytest.mark.parametrize(("events", "head", "verdict", "reason"), REFUSALS)
def test_blocked_pushes(events: list[JournalEvent], head: str, verdict: Verdict, reason: str) -> None:
    found = why(events, head)
    assert found is not None
    assert (found.verdict, found.why[: len(reason)]) == (verdict, reason)


@pytest.mark.parametrize("trigger", sorted(MANUAL_TRIGGERS))
@pytest.mark.parametrize(("events", "head", "verdict", "reason"), REFUSALS)
def test_a_person_is_always_followed(
    events: list[JournalEvent], head: str, verdict: Verdict, reason: str, trigger: Trigger
) -> None:
    assert why(events, head, trigger) is None, (verdict, reason)


@pytest.mark.parametrize("events", [[], deployed(ONE, A), ROLLED_BACK, [*deployed(ONE, A), skipped(B, A)]])
def test_a_newer_commit_is_deployed(events: list[JournalEvent]) -> None:
    assert why(events, C) is None


@pytest.mark.parametrize("trigger", [Trigger.REDELIVERY, Trigger.UNPIN])
def test_failed_build_is_retried(trigger: Trigger) -> None:
    assert why([quarantined(B, served=False)], B, trigger) is None


@pytest.mark.parametrize(("events", "head", "verdict", "reason"), REFUSALS[:3])
def test_blocked_redeliveries(events: list[JournalEvent], head: str, verdict: Verdict, reason: str) -> None:
    found = why(events, head, Trigger.REDELIVERY)
    assert found is not None
    assert (found.verdict, found.why[: len(reason)]) == (verdict, reason)


def test_quarantine_names_its_start() -> None:
    later = quarantined(B).model_copy(update={"at": AT + timedelta(days=1)})
    found = why([quarantined(B), later], B)
    assert found is not None
    assert "2026-03-05 05:06 UTC" in found.why


def test_skip_needs_the_same_release() -> None:
    """Paths are compared with the deployed release. Against another release, the same head may change one of them."""
    assert why([*deployed(ONE, A), skipped(C, A), *deployed(TWO, B)], C) is None


def test_unverified_release_skips_nothing() -> None:
    interrupted = Switched(at=AT, deployment=DEPLOYMENT, release=ONE)
    assert why([*deployed(ONE, A), skipped(C, A), interrupted], C) is None


@pytest.mark.parametrize("trigger", list(Trigger))
def test_freeze_blocks_every_trigger(trigger: Trigger) -> None:
    found = block_reason(fold([]), A, trigger, Freeze(reason="the sale", since=AT, by="anna"))
    assert found == Assessment(verdict=Verdict.FROZEN, why="frozen since 2026-03-04 05:06 UTC by anna: the sale")


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.FROZEN, "hookd thaw shop"),
        (Verdict.PINNED, "hookd unpin shop"),
        (Verdict.QUARANTINED, "hookd deploy shop"),
        (Verdict.SKIPPED, "hookd deploy shop"),
        (Verdict.STOPPED, "sudo hookd start shop"),
        (
            Verdict.UNREACHABLE,
            "hookd doctor shop",
        ),
        (Verdict.WAITING, "hookd deploy shop"),
    ],
)
def test_remedy_of_each_verdict(verdict: Verdict, told: str) -> None:
    assert remedy(verdict, "shop") == told
    as_root = remedy(verdict, "shop", "sudo hookd")
    assert as_root == (told if "sudo" in told else told.replace("hookd", "sudo hookd"))


def test_no_remedy_without_a_block() -> None:
    assert [one for one in (Verdict.UNCHANGED, Verdict.QUEUED, Verdict.ENDED) if remedy(one, "shop")] == []
