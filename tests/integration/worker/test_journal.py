"""The journal on disk: torn lines, strange texts, and events that are written before they are believed."""

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hookd.model.journal import Built, Good, JournalEvent, Pinned, Quarantined, Removed, Switched
from tests.support.processes import PROJECT
from worker.journal import Journal

DEPLOYMENT = "shop-20260101T000000000-abcdef"
COMMIT = "ab" * 20


def stamp() -> dict[str, object]:
    return {"at": datetime.now(UTC), "deployment": DEPLOYMENT}


def name(number: int) -> str:
    return f"{number:06d}-{COMMIT[:12]}"


def release(number: int) -> tuple[JournalEvent, ...]:
    """Return the events of a good release."""
    made = Built(**stamp(), release=name(number), commit=COMMIT)
    switched = Switched(**stamp(), release=name(number))
    return made, switched, Good(**stamp(), release=name(number))


def quarantined(cause: str, commit: str = COMMIT) -> Quarantined:
    return Quarantined(**stamp(), commit=commit, served=True, cause=cause)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "shop.jsonl"


def test_missing_journal_is_empty(path: Path) -> None:
    state = Journal(path).state()
    assert (state.current, state.releases, state.last_number) == (None, (), 0)
    assert not path.exists()


def test_events_outlive_the_process(path: Path) -> None:
    written = Journal(path).add(*release(1))
    assert written == Journal(path).state()
    assert (written.current, written.verified, written.last_number) == (name(1), True, 1)


def test_torn_line_is_skipped(path: Path) -> None:
    Journal(path).add(*release(1))
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:-20])
    state = Journal(path).add(*release(2))
    assert [known.name for known in state.releases] == [name(1), name(2)]
    assert Journal(path).state() == state


@pytest.mark.parametrize("garbage", [b"\x00" * 4096, b"\xff\xfe\n", b"[]\n", b'{"kind": "unknown"}\n', b"\n\n"])
def test_garbage_lines_are_skipped(path: Path, garbage: bytes) -> None:
    Journal(path).add(*release(1))
    with path.open("ab") as file:
        file.write(garbage)
    assert Journal(path).add(*release(2)).current == name(2)


@pytest.mark.threat(31)
def test_journal_torn_at_any_byte(path: Path) -> None:
    Journal(path).add(*release(1), *release(2))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        assert Journal(path).state().last_number <= min(2, lines // 3 + 1)
        Journal(path).add(quarantined("marker", "cd" * 20))
        assert [verdict.cause for verdict in Journal(path).state().quarantined] == ["marker"]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n", '"', "\\", "€"])
def test_invalid_characters_keep_the_verdict(path: Path, sign: str) -> None:
    cause = f"the app says: a{sign}b"
    Journal(path).add(quarantined(cause))
    assert [verdict.cause for verdict in Journal(path).state().quarantined] == [cause]


@pytest.mark.parametrize("sign", ["\u2028", "\x85"])
def test_line_separators_split_no_event(path: Path, sign: str) -> None:
    path.parent.mkdir()
    path.write_text(f"{quarantined(f'a{sign}b').model_dump_json()}\n".replace("\\u2028", sign), encoding="utf-8")
    assert [verdict.cause for verdict in Journal(path).state().quarantined] == [f"a{sign}b"]


FSYNCED = """
import os, sys
from pathlib import Path
from tests.integration.worker.test_journal import release
from worker.journal import Journal
real = os.fsync
def noted(descriptor):
    print(os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_size, flush=True)
    real(descriptor)
os.fsync = noted
Journal(Path(sys.argv[1])).add(*release(1))
"""


@pytest.mark.threat(31)
def test_event_and_name_are_synced(path: Path) -> None:
    argv = [sys.executable, "-c", FSYNCED, str(path)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True)
    synced = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert synced[0] == [str(path), str(path.stat().st_size)]
    assert synced[1][0] == str(path.parent)


# Python ignores the signal that comes with this limit: a write takes what fits, and the next one fails.
LIMITED = """
import resource, sys
from pathlib import Path
from tests.integration.worker.test_journal import release
from worker.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
Journal(Path(sys.argv[1])).add(*release(2))
"""


@pytest.mark.threat(30)
@pytest.mark.parametrize("room", [0, 1, 200])
def test_events_without_room_are_absent(path: Path, room: int) -> None:
    Journal(path).add(*release(1))
    before = path.read_bytes()
    argv = [sys.executable, "-c", LIMITED, str(path), str(len(before) + room)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert path.read_bytes() == before


def test_unsynced_events_are_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Journal(path).add(*release(1))

    def refused(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match="No space left"):
        Journal(path).add(*release(2))
    assert Journal(path).state() == before


def test_short_journal_is_kept(path: Path) -> None:
    Journal(path).add(*release(1), Removed(**stamp(), release=name(1)))
    before = path.read_bytes()
    Journal(path).shorten()
    assert path.read_bytes() == before


def test_shortening_keeps_the_state(path: Path) -> None:
    journal = Journal(path)
    events: list[JournalEvent] = []
    for number in range(1, 201):
        events += release(number)
        if number > 5:
            events.append(Removed(**stamp(), release=name(number - 5)))
    journal.add(*events)
    pin = Pinned(**stamp(), commit=COMMIT, head="cd" * 20)
    before = journal.add(quarantined("it was bad", "ef" * 20), pin)
    lines = path.read_bytes().count(b"\n")
    journal.shorten()
    assert journal.state() == before
    assert path.read_bytes().count(b"\n") < lines / 10
    assert os.listdir(path.parent) == [path.name]


def test_killed_shortening_is_repeated(path: Path) -> None:
    journal = Journal(path)
    journal.add(*(event for number in range(1, 201) for event in release(number)))
    path.with_suffix(".new").write_bytes(b"half a l")
    state = journal.state()
    journal.shorten()
    assert journal.state() == state
