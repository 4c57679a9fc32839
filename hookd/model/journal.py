"""The memory of one app on disk: a list of events, and the state that follows from them.

The journal is the truth about releases. It survives the loss of Redis.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from hookd.model.ids import CommitId, DeploymentId, ReleaseName
from hookd.model.tables.service import Colour
from hookd.model.text import without_surrogates
from hookd.model.written import WrittenFiles

# Remembered commits of one kind.
_MAX_COMMITS: Final = 50


class _JournalEntry(BaseModel, frozen=True):
    at: AwareDatetime
    deployment: DeploymentId


class Built(_JournalEntry):
    """A release's directory is complete. Nothing points at it yet."""

    kind: Literal["built"] = "built"
    release: ReleaseName
    commit: CommitId


class Switched(_JournalEntry):
    """`current` points at the release, before its health check."""

    kind: Literal["switched"] = "switched"
    release: ReleaseName
    colour: Colour | None = None


class Good(_JournalEntry):
    """The release passed its health check."""

    kind: Literal["good"] = "good"
    release: ReleaseName


class Quarantined(_JournalEntry):
    """A commit that only a person deploys again. `served` is True if it was started as the service.

    With `configured_at`, an app's configuration of another time deploys it once more. With `needs_fix` its own code is
    at fault, so that it would fail again.
    """

    kind: Literal["quarantined"] = "quarantined"
    commit: CommitId
    served: bool
    cause: str
    configured_at: AwareDatetime | None = None
    needs_fix: bool = False

    def __str__(self) -> str:
        until = " until the app or its variables are edited" if self.configured_at else ""
        return f"{self.commit[:12]} has been quarantined since {self.at:%Y-%m-%d %H:%M} UTC{until}: {self.cause}"

    def is_lifted(self, configured_at: AwareDatetime | None) -> bool:
        """Return True if the app's configuration is another one than that under which the commit failed."""
        return None not in (self.configured_at, configured_at) and self.configured_at != configured_at


class Pinned(_JournalEntry):
    """A person chose `commit` while the branch's head was `head`, which is not deployed without a person."""

    kind: Literal["pinned"] = "pinned"
    commit: CommitId
    head: CommitId


class Unpinned(_JournalEntry):
    """The app follows its branch again."""

    kind: Literal["unpinned"] = "unpinned"


class Skipped(_JournalEntry):
    """The head changes none of the app's paths since `base`, which serves."""

    kind: Literal["skipped"] = "skipped"
    commit: CommitId
    base: CommitId


class ReleaseCommandsRun(_JournalEntry):
    """A commit's release commands started, and with `finished` they ended well.

    `backup` was made right before, or before the first try that failed.
    """

    kind: Literal["release_commands_run"] = "release_commands_run"
    commit: CommitId
    finished: bool = False
    backup: ReleaseName | None = None


class ReleaseCommandsNotRun(_JournalEntry):
    """A commit's release commands could not start, so nothing has changed the database."""

    kind: Literal["release_commands_not_run"] = "release_commands_not_run"
    commit: CommitId


class Written(_JournalEntry):
    """The files that an app wrote into a release. With the number 0 they are gone."""

    kind: Literal["written"] = "written"
    files: WrittenFiles


class Removed(_JournalEntry):
    """A release's directory is gone."""

    kind: Literal["removed"] = "removed"
    release: ReleaseName


JournalEvent = Annotated[
    Built
    | Switched
    | Good
    | Quarantined
    | Pinned
    | Unpinned
    | Skipped
    | ReleaseCommandsRun
    | ReleaseCommandsNotRun
    | Written
    | Removed,
    Field(discriminator="kind"),
]
_EVENT: TypeAdapter[JournalEvent] = TypeAdapter(JournalEvent)


class Release(BaseModel, frozen=True):
    """A release on disk."""

    name: ReleaseName
    commit: CommitId
    good: bool = False


class AppState(BaseModel, frozen=True):
    """The sum of the events. `releases` goes from old to new, `good_order` by the time each last became good."""

    releases: tuple[Release, ...] = ()
    good_order: tuple[ReleaseName, ...] = ()
    current: ReleaseName | None = None
    colour: Colour | None = None
    verified: bool = True
    quarantined: tuple[Quarantined, ...] = ()
    release_commands: tuple[ReleaseCommandsRun, ...] = ()
    pin: Pinned | None = None
    skipped: Skipped | None = None
    written: tuple[Written, ...] = ()
    last_number: int = 0

    def release(self, name: str | None) -> Release | None:
        """Return a release on disk by its name."""
        return next((release for release in self.releases if release.name == name), None)

    def quarantine_of(self, commit: str) -> Quarantined | None:
        """Return the quarantine of a commit, if there is one."""
        return next((old for old in self.quarantined if old.commit == commit), None)

    def release_commands_of(self, commit: str) -> ReleaseCommandsRun | None:
        """Return the newest run of a commit's release commands."""
        return next((run for run in self.release_commands if run.commit == commit), None)

    @property
    def deployed(self) -> Release | None:
        """The release that `current` points at."""
        return self.release(self.current)

    @property
    def previous_good(self) -> Release | None:
        """The last good release older than the current one. A second rollback goes one release further."""
        names = [release.name for release in self.releases]
        older = names[: names.index(self.current)] if self.current in names else names
        earlier = [self.release(name) for name in self.good_order if name in older]
        others = [good for good in earlier if good and (self.deployed is None or good.commit != self.deployed.commit)]
        return others[-1] if others else None


def encode(event: JournalEvent) -> str:
    """Return an event as one line without its line end."""
    text = json.dumps(event.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    return without_surrogates(text)


def decode(lines: Iterable[str]) -> list[JournalEvent]:
    """Return the events of the lines, without the lines that a crash has torn."""
    events = []
    for line in lines:
        try:
            events.append(_EVENT.validate_json(line))
        except ValidationError:
            continue
    return events


def fold(events: Iterable[JournalEvent]) -> AppState:
    """Return the state after all events."""
    state = AppState()
    for event in events:
        state = state.model_copy(update=_changes(state, event))
    return state


def _changes(state: AppState, event: JournalEvent) -> dict[str, object]:
    match event:
        case Built():
            release = Release(name=event.release, commit=event.commit)
            number = int(event.release.split("-")[0])
            return {"releases": (*state.releases, release), "last_number": max(state.last_number, number)}
        case Switched():
            return {"current": event.release, "colour": event.colour, "verified": False}
        case Good():
            return _good(state, event.release)
        case Quarantined():
            others = tuple(old for old in state.quarantined if old.commit != event.commit)
            return {"quarantined": (*others, event)[-_MAX_COMMITS:]}
        case ReleaseCommandsRun() | ReleaseCommandsNotRun():
            others_run = tuple(old for old in state.release_commands if old.commit != event.commit)
            newest = (event,) if isinstance(event, ReleaseCommandsRun) else ()
            return {"release_commands": (*others_run, *newest)[-_MAX_COMMITS:]}
        case Pinned():
            return {"pin": event}
        case Unpinned():
            return {"pin": None}
        case Skipped():
            return {"skipped": event}
        case Written():
            others_written = tuple(old for old in state.written if old.files.release != event.files.release)
            newest_written = (event,) if event.files.number else ()
            return {"written": (*others_written, *newest_written)[-_MAX_COMMITS:]}
        case Removed():
            return {
                "releases": tuple(release for release in state.releases if release.name != event.release),
                "good_order": tuple(name for name in state.good_order if name != event.release),
            }


def _good(state: AppState, name: str) -> dict[str, object]:
    good = state.release(name)
    commit = good.commit if good else None
    return {
        "releases": tuple(
            release.model_copy(update={"good": True}) if release.name == name else release for release in state.releases
        ),
        "good_order": (*(other for other in state.good_order if other != name), name),
        "quarantined": tuple(old for old in state.quarantined if old.commit != commit),
        "verified": state.verified or name == state.current,
        "pin": state.pin if state.pin and state.pin.commit == commit else None,
    }


def compact(events: Iterable[JournalEvent]) -> list[JournalEvent]:
    """Return the events without those of removed releases and those that later events have replaced."""
    kept = list(events)
    state = fold(kept)
    present = {release.name for release in state.releases}
    last_switch = next((event for event in reversed(kept) if isinstance(event, Switched)), None)
    in_force = (*state.quarantined, *state.release_commands, *state.written, state.pin, state.skipped, last_switch)
    return [
        event for event in kept if (event.release in present if isinstance(event, Built | Good) else event in in_force)
    ]
