"""The journal's events: what state they add up to, and what may be left out."""

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
    """What a deployment that went well leaves behind."""
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


def test_nothing_has_happened_to_a_new_app() -> None:
    state = fold([])
    assert state == AppState()
    assert (state.deployed, state.previous_good) == (None, None)


def test_a_release_that_was_only_built_does_not_serve() -> None:
    state = fold([Built(**STAMP, release=ONE, commit=A)])
    assert (state.deployed, state.last_number, state.verified) == (None, 1, True)


def test_a_release_that_was_switched_to_serves_but_is_not_good_yet() -> None:
    state = fold(deployed(ONE, A)[:2])
    assert state.deployed is not None
    assert (state.deployed.commit, state.deployed.good, state.verified) == (A, False, False)


def test_a_release_that_passed_its_check_is_good_and_verified() -> None:
    state = fold(deployed(ONE, A))
    assert state.deployed is not None
    assert (state.deployed.good, state.verified, state.good_order) == (True, True, (ONE,))


def test_a_good_word_about_another_release_does_not_verify_the_current_one() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B)[:2], Good(**STAMP, release=ONE)])
    assert not state.verified


def test_after_a_rollback_the_old_release_serves_and_the_bad_commit_is_quarantined() -> None:
    state = fold(ROLLED_BACK)
    assert state.current == ONE
    assert [old.commit for old in state.quarantined] == [B]
    assert state.previous_good is None


def test_the_way_back_leads_to_the_release_that_was_good_last_not_to_the_one_built_last() -> None:
    back: list[JournalEvent] = [Switched(**STAMP, release=ONE), Good(**STAMP, release=ONE)]
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *back, *deployed(THREE, C)])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE


@pytest.mark.promise(46)
def test_a_second_way_back_leads_further_back_and_not_forth_again() -> None:
    back: list[JournalEvent] = [Switched(**STAMP, release=TWO), Good(**STAMP, release=TWO)]
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *deployed(THREE, C), *back])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE
    state = fold([*deployed(ONE, A), *deployed(TWO, B), Switched(**STAMP, release=ONE), Good(**STAMP, release=ONE)])
    assert state.previous_good is None


def test_the_way_back_leads_to_another_commit() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B), *deployed(THREE, B)])
    assert state.previous_good is not None
    assert state.previous_good.name == ONE


def test_the_colour_is_that_of_the_last_switch() -> None:
    switches: list[JournalEvent] = [
        Switched(**STAMP, release=ONE, colour="blue"),
        Switched(**STAMP, release=TWO, colour="green"),
    ]
    assert fold(switches).colour == "green"


def test_a_removed_release_is_no_way_back() -> None:
    state = fold([*deployed(ONE, A), *deployed(TWO, B), Removed(**STAMP, release=ONE)])
    assert state.release(ONE) is None
    assert state.previous_good is None
    assert state.last_number == 2


def test_a_commit_that_turned_out_good_after_all_leaves_quarantine() -> None:
    assert fold([quarantined(A), *deployed(ONE, A)]).quarantined == ()


def test_a_commit_is_in_quarantine_once_with_its_last_cause() -> None:
    again = quarantined(A, cause="it was bad again")
    assert fold([quarantined(A), quarantined(B), again]).quarantined == (quarantined(B), again)


def test_quarantine_forgets_the_oldest_beyond_fifty() -> None:
    state = fold([quarantined(f"{number:040x}") for number in range(51)])
    assert len(state.quarantined) == 50
    assert state.quarantined[0].commit == f"{1:040x}"


def test_a_pin_lasts_until_another_commit_turns_out_good() -> None:
    pin = Pinned(**STAMP, commit=A, head=B)
    pinned = [*deployed(ONE, A), pin, Good(**STAMP, release=ONE)]
    assert fold(pinned).pin == pin
    assert fold([*pinned, *deployed(THREE, C)]).pin is None


def test_a_torn_line_is_left_out_and_its_neighbours_are_kept() -> None:
    lines = [encode(event) for event in deployed(ONE, A)]
    for cut in range(len(lines[1])):
        assert decode([lines[0], lines[1][:cut], lines[2]]) == [deployed(ONE, A)[0], deployed(ONE, A)[2]]


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", "null", "\x00" * 40, '{"kind": "surprise"}', '{"kind": "removed"}', "[" * 5000, "é�"],
)
def test_a_line_that_is_no_event_is_left_out(line: str) -> None:
    assert decode([line]) == []


def test_an_event_with_a_release_that_leads_out_of_its_directory_is_left_out() -> None:
    line = encode(Removed(**STAMP, release=ONE)).replace(ONE, "../../../home")
    assert decode([line]) == []


@pytest.mark.parametrize(
    "cause", ["a\nb", "a\r\nb", "a\x85b", "a\u2028b", "a\u2029b", "a\x0b\x0c\x1c\x1d\x1eb", "ü 😀"]
)
def test_an_event_stays_one_line_whatever_its_cause_says(cause: str) -> None:
    event = quarantined(A, cause=cause)
    assert encode(event).splitlines() == [encode(event)]
    assert decode([encode(event)]) == [event]


def test_a_cause_with_a_file_name_that_is_no_utf8_can_be_written() -> None:
    line = encode(quarantined(A, cause="no such file: caf\udce9"))
    assert decode([line]) == [quarantined(A, cause="no such file: caf?")]


def test_what_does_not_matter_any_more_is_left_out() -> None:
    events: list[JournalEvent] = [*ROLLED_BACK, *deployed(THREE, C), Removed(**STAMP, release=TWO)]
    assert compact(events) == [
        Built(**STAMP, release=ONE, commit=A),
        Good(**STAMP, release=ONE),
        quarantined(B),
        Good(**STAMP, release=ONE),
        *deployed(THREE, C),
    ]


def test_a_pin_ends_when_a_person_follows_the_branch_again() -> None:
    events: list[JournalEvent] = [*deployed(ONE, A), Pinned(**STAMP, commit=A, head=B), Unpinned(**STAMP)]
    assert fold(events).pin is None
    assert fold(compact(events)) == fold(events)


def test_the_last_head_that_was_passed_over_is_remembered() -> None:
    events: list[JournalEvent] = [*deployed(ONE, A), *(Skipped(**STAMP, commit=head, base=A) for head in (B, C))]
    assert compact(events) == [*deployed(ONE, A), Skipped(**STAMP, commit=C, base=A)]
    assert fold(compact(events)) == fold(events)
