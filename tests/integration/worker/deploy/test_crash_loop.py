"""A commit that kills the deploying process three times in a row is quarantined."""

from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status, Trigger
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for
from worker.deploy.target import MAX_CRASHES, count_crash, read_crash_count

# Counts itself, and does to the process that deploys what the file beside it says.
COMMAND = 'echo try >> "$BOOK"; eval "$(cat "$BOOK.does")"'
KILL = 'kill -9 "$(cut -d" " -f4 /proc/$$/stat)"'
APPS: dict[str, dict[str, Any]] = {
    name: {"handover": "restart", "build": {"commands": [["sh", "-c", COMMAND]]}} for name in ("deadly", "unlucky")
}
A, B = "a" * 40, "b" * 40


class Book:
    """Counts the builds of an app, and sets the action of the next one."""

    def __init__(self, site: Installation, app: str) -> None:
        self._path = site.directory / f"{app}.book"
        site.change_app(app, build={"environment": {"BOOK": str(self._path)}})

    def does(self, what: str) -> None:
        self._path.with_name(f"{self._path.name}.does").write_text(what)

    @property
    def tries(self) -> int:
        return len(self._path.read_text().splitlines())


@pytest.mark.threat(84)
def test_crash_loop_is_quarantined(site: Installation) -> None:
    app, book = "deadly", Book(site, "deadly")
    book.does("true")
    assert site.ship(app, app_files("one")).status is Status.SUCCEEDED
    book.does(KILL)
    commit = site.repositories[app].commit_and_push(app_files("two"))
    site.send_push(app, delivery="d-1")
    wait_for(lambda: ended(site, app) == 1 + MAX_CRASHES, 90, what="the first tries")
    left_alone = site.deploy(app, Trigger.PUSH)
    assert left_alone.status is Status.UNCHANGED
    assert "the deploying process was killed 3 times in a row" in str(left_alone.cause)
    assert site.deploy(app, Trigger.RECONCILE).status is Status.UNCHANGED
    assert (book.tries, site.serving(app)) == (1 + MAX_CRASHES, "one")
    assert [old.commit for old in AppStatusStore(site.records.connection).read(app).quarantined] == [commit]
    again = site.send_push(app, delivery="d-1")["deployment"]
    assert (site.wait_for_ending(again).status, book.tries) == (Status.FAILED, 2 + MAX_CRASHES)
    book.does("true")
    mended = site.wait_for_ending(site.send_push(app, delivery="d-1")["deployment"])
    assert (mended.trigger, mended.status, site.serving(app)) == (Trigger.REDELIVERY, Status.SUCCEEDED, "two")
    assert AppStatusStore(site.records.connection).read(app).quarantined == ()


def ended(site: Installation, app: str) -> int:
    return sum(one.ended for one in site.records.history(app, 99))


@pytest.mark.threat(84)
def test_failed_build_is_retried(site: Installation) -> None:
    app, book = "unlucky", Book(site, "unlucky")
    book.does("false")
    site.repositories[app].commit_and_push(app_files("one"))
    tries = MAX_CRASHES + 1
    assert {site.deploy(app, Trigger.PUSH).status for _ in range(tries)} == {Status.FAILED}
    assert (book.tries, AppStatusStore(site.records.connection).read(app).quarantined) == (tries, ())
    book.does("true")
    assert site.deploy(app, Trigger.PUSH).status is Status.SUCCEEDED


@pytest.mark.threat(84)
def test_count_crashes_of_one_commit(tmp_path: Path) -> None:
    path = tmp_path / "shop.crashes"
    for number in (1, 2):
        dies(path, A)
        assert (read_crash_count(path, A), read_crash_count(path, B)) == (number, 0)
    dies(path, B)
    assert (read_crash_count(path, A), read_crash_count(path, B)) == (0, 1)
    with pytest.raises(ValueError, match="a bad end"), count_crash(path, B):
        raise ValueError("a bad end")
    assert (read_crash_count(path, B), path.exists()) == (0, False)


def dies(path: Path, commit: str) -> None:
    """Leave the count of a killed process."""
    held = count_crash(path, commit)
    held.__enter__()
    left = path.read_bytes()
    held.__exit__(None, None, None)
    path.write_bytes(left)


@pytest.mark.parametrize("content", [b"", b"\xff", b"x", b"x y z", b"%s many" % A.encode()])
def test_unreadable_crash_count(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shop.crashes"
    path.write_bytes(content)
    assert read_crash_count(path, A) == 0
    dies(path, A)
    assert read_crash_count(path, A) == 1


@pytest.mark.threat(84)
def test_crash_count_cannot_be_written(tmp_path: Path) -> None:
    with count_crash(tmp_path / "nowhere" / "shop.crashes", A):
        pass
