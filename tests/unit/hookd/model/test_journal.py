"""The journal's events: the state after them, and their compaction."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hookd.model.journal import (
    AppState,
    Built,
    Good,
    JournalEvent,
    Pinned,
    Quarantined,
    ReleaseCommandsNotRun,
    ReleaseCommandsRun,
    Removed,
    Skipped,
    Switched,
    Unpinned,
    compact,
    decode,
    encode,
    fold,
)

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STAMP: dict[str, Any] = {"at": AT, "deployment": "shop-20260304T050607000-0a1b2c"}
A, B, C = "a" * 40, "b" * 40, "c" * 40
ONE, TWO, THREE = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb", "000003-cccccccccccc"


def deployed(release: str, commit: str) -> list[JournalEvent]:
    """Return the events of a succeeded deployment."""
    return [
        Built(**STAMP, release=release, commit=commit),
        Switched(**STAMP, release=release),
        Good(**STAMP, release=release),
    ]


def quarantined(commit: str, served: bool = True, cause: str = "it was bad") -> Quarantined:
    return Quarantined(**STAMP, commit=commit, served=served, cause=cause)


ROLLED_BACK: list[JournalEvent] = [
    *deployed(ONE, A),
    Built(**STAMP, release=TWO, commit=B),
    Switched(**STAMP, release=TWO),
    quarantined(B),
    Switched(**STAMP, release=ONE),
    Good(**STAMP, release=ONE),
]


def test_new_app_is_empty() -> None:
    state = fold([])
    assert state == AppState()
    assert (state.deployed, state.previous_good) == (None, None)


def test_built_release_does_not_serve() -> None:
    state = fold([Built(**STAMP, release=ONE, commit=A)])
    assert (state.deployed, state.last_number, state.verified) == (None, 1, True)


def test_switched_release_is_unverified() -> None:
    state = fold(deployed(ONE, A)[:2])
    assert state.deployed is not None
    assert (state.deployed.commit, state.deployed.good, state.verified) == (A, False, False)


def test_good_release_is_verified() -> None:
    state = fold(deployed(ONE, A))
    assert state.deployed is not None
    assert (state.deployed.good, state.verified, state.good_order) == (True, True, (ONE,))


def test_other_release_verifies_nothing() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B)[:2], Good(**STAMP, release=ONE)])
    assert not state.verified


def test_rollback_quarantines_the_bad_commit() -> None:
    state = fold(ROLLED_BACK)
    assert state.current == ONE
    assert [old.commit for old in state.quarantined] == [B]
    assert state.previous_good is None


def test_rollback_goes_to_last_good() -> None:
    back: list[JournalEvent] = [Switched(**STAMP, release=ONE), Good(**STAMP, release=ONE)]
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *back, *deployed(THREE, C)])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE


@pytest.mark.promise(46)
def test_second_rollback_goes_further_back() -> None:
    back: list[JournalEvent] = [Switched(**STAMP, release=TWO), Good(**STAMP, release=TWO)]
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *deployed(THREE, C), *back])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE
    state = fold([*deployed(ONE, A), *deployed(TWO, B), Switched(**STAMP, release=ONE), Good(**STAMP, release=ONE)])
    assert state.previous_good is None


def test_rollback_changes_the_commit() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *deployed(THREE, B)])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE


def test_colour_of_the_last_switch() -> None:
    switches: list[JournalEvent] = [
        Switched(**STAMP, release=ONE, colour="blue"),
        Switched(**STAMP, release=TWO, colour="green"),
    ]
    assert fold(switches).colour == "green"


def test_removed_release_is_no_target() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B), Removed(**STAMP, release=ONE)])
    assert state.release(ONE) is None
    assert state.previous_good is None
    assert state.last_number == 2


def test_good_commit_leaves_quarantine() -> None:
    assert fold([quarantined(A), *deployed(ONE, A)]).quarantined == ()


def test_quarantine_keeps_the_last_cause() -> None:
    again = quarantined(A, cause="it was bad again")
    assert fold([quarantined(A), quarantined(B), again]).quarantined == (quarantined(B), again)


def test_quarantine_forgets_the_oldest_beyond_fifty() -> None:
    state = fold([quarantined(f"{number:040x}") for number in range(51)])
    assert len(state.quarantined) == 50
    assert state.quarantined[0].commit == f"{1:040x}"


def test_pin_ends_with_another_good_commit() -> None:
    pin = Pinned(**STAMP, commit=A, head=B)
    pinned = [*deployed(ONE, A), pin, Good(**STAMP, release=ONE)]
    assert fold(pinned).pin == pin
    assert fold([*pinned, *deployed(THREE, C)]).pin is None


def test_torn_line_is_skipped() -> None:
    lines = [encode(event) for event in deployed(ONE, A)]
    for cut in range(len(lines[1])):
        assert decode([lines[0], lines[1][:cut], lines[2]]) == [deployed(ONE, A)[0], deployed(ONE, A)[2]]


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", "null", "\x00" * 40, '{"kind": "surprise"}', '{"kind": "removed"}', "[" * 5000, "é�"],
)
def test_invalid_line_is_skipped(line: str) -> None:
    assert decode([line]) == []


def test_escaping_release_name_is_skipped() -> None:
    line = encode(Removed(**STAMP, release=ONE)).replace(ONE, "../../../home")
    assert decode([line]) == []


@pytest.mark.parametrize(
    "cause", ["a\nb", "a\r\nb", "a\x85b", "a\u2028b", "a\u2029b", "a\x0b\x0c\x1c\x1d\x1eb", "ü 😀"]
)
def test_event_is_one_line(cause: str) -> None:
    event = quarantined(A, cause=cause)
    assert encode(event).split("\n") == [encode(event)]
    assert decode([encode(event)]) == [event]


def test_cause_with_invalid_utf8() -> None:
    line = encode(quarantined(A, cause="no such file: caf\udce9"))
    assert decode([line]) == [quarantined(A, cause="no such file: caf?")]


def test_compaction_drops_old_events() -> None:
    events: list[JournalEvent] = [*ROLLED_BACK, *deployed(THREE, C), Removed(**STAMP, release=TWO)]
    assert compact(events) == [
        Built(**STAMP, release=ONE, commit=A),
        Good(**STAMP, release=ONE),
        quarantined(B),
        Good(**STAMP, release=ONE),
        *deployed(THREE, C),
    ]


@pytest.mark.threat(89)
def test_unstarted_commands_are_forgotten() -> None:
    started = ReleaseCommandsRun(**STAMP, commit=A)
    assert fold([started]).release_commands_of(A) == started
    again = fold([started, ReleaseCommandsNotRun(**STAMP, commit=A)])
    assert again.release_commands_of(A) is None


def test_unpin_ends_a_pin() -> None:
    events: list[JournalEvent] = [*deployed(ONE, A), Pinned(**STAMP, commit=A, head=B), Unpinned(**STAMP)]
    assert fold(events).pin is None
    assert fold(compact(events)) == fold(events)


def test_last_skipped_head_is_kept() -> None:
    events: list[JournalEvent] = [*deployed(ONE, A), *(Skipped(**STAMP, commit=head, base=A) for head in (B, C))]
    assert compact(events) == [*deployed(ONE, A), Skipped(**STAMP, commit=C, base=A)]
    assert fold(compact(events)) == fold(events)
