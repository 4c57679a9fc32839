"""What an app's own directory remembers: a list of events, and the state that follows from them.

The journal is the truth about releases. It survives the loss of Redis, and a line torn by a crash is left out.
"""

import json
import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hookd.model.ids import CommitId, DeploymentId, ReleaseName

Colour = Literal["blue", "green"]
# JSON leaves these as they are, and whoever splits the journal into lines may take them for line ends.
_SEPARATORS: Final = re.compile(r"[\x7f-\x9f\u2028\u2029]")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class _JournalEntry(_Frozen):
    at: AwareDatetime
    deployment: DeploymentId


class Built(_JournalEntry):
    """A release's directory is complete; nothing points at it yet."""

    kind: Literal["built"] = "built"
    release: ReleaseName
    commit: CommitId


class Switched(_JournalEntry):
    """`current` points at the release; whether it is good is not known yet."""

    kind: Literal["switched"] = "switched"
    release: ReleaseName
    colour: Colour | None = None


class Good(_JournalEntry):
    """The release that was switched to passed its health check."""

    kind: Literal["good"] = "good"
    release: ReleaseName


class Quarantined(_JournalEntry):
    """A commit must not be deployed again by itself; `served` tells whether it was started as the service."""

    kind: Literal["quarantined"] = "quarantined"
    commit: CommitId
    served: bool
    cause: str


class Pinned(_JournalEntry):
    """A person chose `commit` while the branch's head was `head`: that head is not deployed by itself."""

    kind: Literal["pinned"] = "pinned"
    commit: CommitId
    head: CommitId


class Unpinned(_JournalEntry):
    """The branch is followed again."""

    kind: Literal["unpinned"] = "unpinned"


class Skipped(_JournalEntry):
    """The head was looked at and not deployed: since `base`, which serves, it changes none of the app's paths."""

    kind: Literal["passed"] = "passed"
    commit: CommitId
    base: CommitId


class Removed(_JournalEntry):
    """A release's directory is gone."""

    kind: Literal["removed"] = "removed"
    release: ReleaseName


JournalEvent = Annotated[
    Built | Switched | Good | Quarantined | Pinned | Unpinned | Skipped | Removed, Field(discriminator="kind")
]
_EVENT: TypeAdapter[JournalEvent] = TypeAdapter(JournalEvent)


class Release(_Frozen):
    """A release that is on disk."""

    name: ReleaseName
    commit: CommitId
    good: bool = False


class AppState(_Frozen):
    """What the events add up to; `releases` is ordered from old to new, `good_order` by when each last became good."""

    releases: tuple[Release, ...] = ()
    good_order: tuple[ReleaseName, ...] = ()
    current: ReleaseName | None = None
    colour: Colour | None = None
    verified: bool = True
    quarantined: tuple[Quarantined, ...] = ()
    pin: Pinned | None = None
    passed: Skipped | None = None
    last_number: int = 0

    def release(self, name: str | None) -> Release | None:
        """Find a release that is on disk by its name."""
        return next((release for release in self.releases if release.name == name), None)

    @property
    def deployed(self) -> Release | None:
        """The release that `current` points at."""
        return self.release(self.current)

    @property
    def previous_good(self) -> Release | None:
        """The release that was good last, of those older than the current one: asked again, it goes further back."""
        names = [release.name for release in self.releases]
        older = names[: names.index(self.current)] if self.current in names else names
        earlier = [self.release(name) for name in self.good_order if name in older]
        others = [one for one in earlier if one and (self.deployed is None or one.commit != self.deployed.commit)]
        return others[-1] if others else None


def encode(event: JournalEvent) -> str:
    """Write an event as one line, without its line end."""
    text = json.dumps(event.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    whole = text.encode("utf-8", "replace").decode()  # A file name that is no UTF-8 may stand in a cause.
    return _SEPARATORS.sub(lambda match: f"\\u{ord(match[0]):04x}", whole)


def decode(lines: Iterable[str]) -> list[JournalEvent]:
    """Read events from lines; a line that is no event (torn by a crash) is left out."""
    events = []
    for line in lines:
        try:
            events.append(_EVENT.validate_json(line))
        except ValidationError:
            continue
    return events


def fold(events: Iterable[JournalEvent]) -> AppState:
    """Work out the state that a list of events leaves behind."""
    state = AppState()
    for event in events:
        state = _apply(state, event)
    return state


def _apply(state: AppState, event: JournalEvent) -> AppState:
    match event:
        case Built():
            return _built(state, event)
        case Switched():
            return state.model_copy(update={"current": event.release, "colour": event.colour, "verified": False})
        case Good():
            return _good(state, event)
        case Quarantined():
            others = tuple(old for old in state.quarantined if old.commit != event.commit)
            return state.model_copy(update={"quarantined": (*others, event)[-50:]})
        case Pinned():
            return state.model_copy(update={"pin": event})
        case Unpinned():
            return state.model_copy(update={"pin": None})
        case Skipped():
            return state.model_copy(update={"passed": event})
        case Removed():
            return _removed(state, event)


def _built(state: AppState, event: Built) -> AppState:
    release = Release(name=event.release, commit=event.commit)
    number = int(event.release.split("-")[0])
    return state.model_copy(
        update={"releases": (*state.releases, release), "last_number": max(state.last_number, number)}
    )


def _good(state: AppState, event: Good) -> AppState:
    releases = tuple(
        release.model_copy(update={"good": True}) if release.name == event.release else release
        for release in state.releases
    )
    commit = next((release.commit for release in releases if release.name == event.release), None)
    order = (*(name for name in state.good_order if name != event.release), event.release)
    cleared = tuple(old for old in state.quarantined if old.commit != commit)
    return state.model_copy(
        update={
            "releases": releases,
            "good_order": order,
            "quarantined": cleared,
            "verified": state.verified or event.release == state.current,
            "pin": state.pin if state.pin and state.pin.commit == commit else None,
        }
    )


def _removed(state: AppState, event: Removed) -> AppState:
    return state.model_copy(
        update={
            "releases": tuple(release for release in state.releases if release.name != event.release),
            "good_order": tuple(name for name in state.good_order if name != event.release),
        }
    )


def compact(events: Iterable[JournalEvent]) -> list[JournalEvent]:
    """Leave out the events of releases that are gone, and what later events have replaced."""
    kept = list(events)
    state = fold(kept)
    present = {release.name for release in state.releases}
    last_switch = max((place for place, event in enumerate(kept) if isinstance(event, Switched)), default=None)

    def matters(place: int, event: JournalEvent) -> bool:
        match event:
            case Built() | Good():
                return event.release in present
            case Switched():
                return place == last_switch
            case Quarantined():
                return event in state.quarantined
            case Pinned():
                return event == state.pin
            case Skipped():
                return event == state.passed
            case Unpinned() | Removed():
                return False

    return [event for place, event in enumerate(kept) if matters(place, event)]
