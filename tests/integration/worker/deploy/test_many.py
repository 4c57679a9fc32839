"""Many pushes at once: one deployment per app at a time, the last push wins, and apps do not block each other."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status
from hookd.model.hint import Hint, HintKind
from tests.support.hanging import silent_server
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for

WORKERS = 3
CROWD = ("ann", "bob", "cay", "dan")
APPS: dict[str, dict[str, Any]] = {name: {"handover": "restart"} for name in (*CROWD, "mute")}
PUSHES = 5

# Writes one line: what, when, and whether somebody (the deployer, it must be) holds the app's lock.
NOTE = """
import fcntl, os, sys, time
what, book, lock = sys.argv[1:]
try:
    fcntl.flock(os.open(lock, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    state = "free"
except BlockingIOError:
    state = "held"
with open(book, "a") as file:
    file.write(f"{what} {time.monotonic_ns()} {os.getppid()} {state}\\n")
"""

# Ends when the other app's build has begun, too.
MEET = """
import os, sys, time
open(sys.argv[1], "w").close()
end = time.monotonic() + 15
while not os.path.exists(sys.argv[2]):
    assert time.monotonic() < end, "the other one never came"
    time.sleep(0.02)
"""


@pytest.mark.threat(6)
@pytest.mark.promise(10)
def test_twenty_pushes_to_four_apps(site: Installation) -> None:
    books = {app: site.directory / f"{app}.book" for app in CROWD}
    for app, book in books.items():
        notes = {what: [["python", "-c", NOTE, what, str(book), str(_lock(site, app))]] for what in ("start", "end")}
        site.change_app(app, build={"commands": notes["start"]}, release={"commands": notes["end"]})
    with ThreadPoolExecutor(len(CROWD)) as developers:
        sent = list(developers.map(lambda app: _push_often(site, app), CROWD))
    for app, ids in zip(CROWD, sent, strict=True):
        endings = [site.wait_for_ending(deployment) for deployment in dict.fromkeys(ids)]
        assert {ending.cause for ending in endings if ending.status is not Status.UNCHANGED} == {None}
        assert {ending.status for ending in endings} <= {Status.SUCCEEDED, Status.UNCHANGED}
        assert sum(ending.coalesced + 1 for ending in endings) == PUSHES
        assert site.status(app).deployed_commit == site.repositories[app].head()
        assert site.serving(app) == f"{app} {PUSHES - 1}"
        _assert_apart(books[app], sum(ending.status is Status.SUCCEEDED for ending in endings))


def _push_often(site: Installation, app: str) -> list[str]:
    ids = []
    for number in range(PUSHES):
        site.repositories[app].commit_and_push(app_files(f"{app} {number}"))
        ids.append(site.send_push(app)["deployment"])
    return ids


def _assert_apart(book: Path, deployments: int) -> None:
    """Check that no two deployments of an app overlap in the book."""
    lines = [line.split() for line in book.read_text().splitlines()]
    ordered = sorted(lines, key=lambda line: int(line[1]))
    assert [line[0] for line in ordered] == ["start", "end"] * deployments
    for start, end in list(pairwise(ordered))[::2]:
        assert start[2] == end[2]
    assert {line[3] for line in lines} == {"held"}


@pytest.mark.threat(6)
def test_second_of_two_pushes_wins(site: Installation) -> None:
    repository = site.repositories["ann"]
    repository.commit_and_push(app_files("one"))
    first = site.send_push("ann")["deployment"]
    repository.commit_and_push(app_files("two"))
    second = site.send_push("ann")["deployment"]
    statuses = [site.wait_for_ending(deployment).status for deployment in (first, second)]
    assert Status.SUCCEEDED in statuses
    assert set(statuses) <= {Status.SUCCEEDED, Status.UNCHANGED}
    assert site.serving("ann") == "two"
    assert site.status("ann").deployed_commit == repository.head()


def test_two_apps_in_parallel(site: Installation) -> None:
    marks = {app: str(site.directory / f"{app}.mark") for app in ("ann", "bob")}
    for app, other in (("ann", "bob"), ("bob", "ann")):
        site.change_app(app, build={"commands": [["python", "-c", MEET, marks[app], marks[other]]]})
        site.repositories[app].commit_and_push(app_files(app))
    sent = [site.send_push(app)["deployment"] for app in marks]
    assert [site.wait_for_ending(deployment).cause for deployment in sent] == [None, None]


@pytest.mark.threat(20)
def test_hanging_git_server(site: Installation) -> None:
    """Other apps are deployed meanwhile."""
    with silent_server() as url:
        site.change_app("mute", repository=url)
        site.repositories["mute"].commit_and_push(app_files("never"))
        waiting = site.send_push("mute")["deployment"]
        site.wait_for_step(waiting, "fetch")
        assert site.ship("cay", app_files("served")).status is Status.SUCCEEDED
        assert site.records.get(waiting).status is Status.RUNNING
    assert site.wait_for_ending(waiting).status is Status.FAILED


@pytest.mark.threat(20)
def test_limit_ends_a_fetch(site: Installation) -> None:
    with silent_server() as url:
        site.change_app("mute", repository=url, limits={"git_seconds": 1})
        site.repositories["mute"].commit_and_push(app_files("not yet"))
        given_up = site.wait_for_ending(site.send_push("mute")["deployment"])
    assert given_up.status is Status.FAILED
    assert given_up.cause == f"the branch main of {url} cannot be fetched: " + (
        "git ran longer than 1 s and was stopped (limits.git_seconds)"
    )
    assert given_up.hint == Hint(HintKind.SET_GIT_SECONDS, "2")


def test_held_lock_delays(site: Installation) -> None:
    """A deployment that waits too long names the holder."""
    app = "dan"
    site.ship(app, app_files("one"))
    site.change_app(app, limits={"lock_seconds": 0.5})
    blocked = _deploy_while_locked(site, app)
    assert (blocked.status, site.serving(app)) == (Status.FAILED, "one")
    assert (blocked.cause or "").endswith("running for more than 0.5 s: somebody else")
    site.change_app(app, limits={"lock_seconds": 30})
    with _lock(site, app).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deployment = site.send_push(app)["deployment"]
        wait_for(lambda: site.records.get(deployment).status is Status.RUNNING, what="the start")
        assert site.records.get(deployment).steps == ()
    assert site.wait_for_ending(deployment).status is Status.SUCCEEDED
    assert site.serving(app) == "blocked"


def _deploy_while_locked(site: Installation, app: str) -> Deployment:
    with _lock(site, app).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.truncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), b"somebody else\n", 0)
        return site.ship(app, app_files("blocked"))


def _lock(site: Installation, app: str) -> Path:
    return site.directory / "state" / "locks" / f"{app}.lock"
