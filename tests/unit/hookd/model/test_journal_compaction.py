"""Any history that a worker can write: a shortened journal leads to the same state."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hookd.model.ids import release_name
from hookd.model.journal import (
    AppState,
    Built,
    Good,
    JournalEvent,
    Pinned,
    Quarantined,
    Removed,
    Switched,
    compact,
    decode,
    encode,
    fold,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
COMMITS = [f"{number:040x}" for number in range(1, 8)]


class Author:
    """Writes events as a worker does: releases are numbered, only those on disk are switched to or removed."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.events: list[JournalEvent] = []

    @property
    def state(self) -> AppState:
        return fold(self.events)

    def stamp(self) -> dict[str, Any]:
        at = START + timedelta(seconds=len(self.events))
        return {"at": at, "deployment": f"shop-{at:%Y%m%dT%H%M%S}000-0a1b2c"}

    def commit(self) -> str:
        return self.draw(st.sampled_from(COMMITS))

    def build(self) -> None:
        commit = self.commit()
        name = release_name(self.state.last_number + 1, commit)
        self.events.append(Built(**self.stamp(), release=name, commit=commit))

    def switch(self) -> None:
        if self.state.releases:
            name = self.draw(st.sampled_from(self.state.releases)).name
            colour = self.draw(st.sampled_from(["blue", "green", None]))
            self.events.append(Switched(**self.stamp(), release=name, colour=colour))

    def approve(self) -> None:
        if self.state.current is not None:
            self.events.append(Good(**self.stamp(), release=self.state.current))

    def quarantine(self) -> None:
        served = self.draw(st.booleans())
        self.events.append(Quarantined(**self.stamp(), commit=self.commit(), served=served, cause="bad"))

    def pin(self) -> None:
        self.events.append(Pinned(**self.stamp(), commit=self.commit(), head=self.commit()))

    def remove(self) -> None:
        old = [release.name for release in self.state.releases if release.name != self.state.current]
        if old:
            self.events.append(Removed(**self.stamp(), release=self.draw(st.sampled_from(old))))


@st.composite
def histories(draw: st.DrawFn) -> list[JournalEvent]:
    author = Author(draw)
    steps = [author.build, author.switch, author.approve, author.quarantine, author.pin, author.remove]
    for step in draw(st.lists(st.sampled_from(steps), max_size=30)):
        step()
    return author.events


def without_number(state: AppState) -> AppState:
    return state.model_copy(update={"last_number": 0})


@settings(max_examples=300)
@given(histories())
def test_compaction_keeps_the_state(events: list[JournalEvent]) -> None:
    assert without_number(fold(compact(events))) == without_number(fold(events))


@settings(max_examples=100)
@given(histories())
def test_compaction_keeps_the_order(events: list[JournalEvent]) -> None:
    places = [events.index(event) for event in compact(events)]
    assert places == sorted(places)
    assert compact(compact(events)) == compact(events)


@settings(max_examples=100)
@given(histories(), st.data())
def test_crash_costs_one_line(events: list[JournalEvent], data: st.DataObject) -> None:
    text = "".join(f"{encode(event)}\n" for event in events)
    cut = text[: data.draw(st.integers(0, len(text)))]
    whole = cut.count("\n")
    assert decode(cut.splitlines())[:whole] == events[:whole]
    assert len(decode(cut.splitlines())) <= whole + 1


@settings(max_examples=100)
@given(histories())
def test_compaction_drops_removed_releases(events: list[JournalEvent]) -> None:
    present = {release.name for release in fold(events).releases}
    kept = [event for event in compact(events) if isinstance(event, Built | Good)]
    assert {event.release for event in kept} == present
