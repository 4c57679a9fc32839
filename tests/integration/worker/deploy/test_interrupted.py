"""A killed deployment: the next one first lets the last good release serve alone.

A commit that kills the deploying process three times in a row is quarantined.
"""

import http.client
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from tests.support.installation import WSGI, Installation, app_files
from tests.support.processes import wait_for
from tests.support.visitors import visitors
from worker.deploy.target import MAX_CRASHES, count_crash, read_crash_count

# Counts itself, and does to the process that deploys what the file beside it says.
COMMAND = 'echo try >> "$BOOK"; eval "$(cat "$BOOK.does")"'
KILL = 'kill -9 "$(cut -d" " -f4 /proc/$$/stat)"'
BUILD = {"commands": [["sh", "-c", COMMAND]]}
APPS: dict[str, dict[str, Any]] = {
    "half-one": {"handover": "restart"},
    "half-bg": {"handover": "blue-green"},
    "two": {"handover": "blue-green"},
    "deadly": {"handover": "restart", "build": BUILD},
    "unlucky": {"handover": "restart", "build": BUILD},
}
A, B = "a" * 40, "b" * 40
NO_IMPORT = "import no_such_package"
# Well when it asks itself at its start, never ready when hookd asks over the network.
NEVER_READY = """
def app(environ, start_response):
    ready = environ["PATH_INFO"] != "/healthz" or environ["SERVER_SOFTWARE"] == "hookd-health"
    start_response("200 OK" if ready else "503 Not yet", [("Content-Type", "text/plain")])
    return [b"unverified"]
"""


@pytest.mark.threat(51)
@pytest.mark.parametrize("app", ["half-one", "half-bg"])
def test_recover_before_next_deployment(site: Installation, app: str) -> None:
    """An unverified release is rolled back before anything else. The first deployment has none to roll back to."""
    good = _kill_while_it_is_checked(site, app, app_files("good"))
    assert (good.status, _answers(site, app)) == (Status.SUCCEEDED, {"good"})
    refused = _kill_while_it_is_checked(site, app, {"wsgi.py": NO_IMPORT})
    assert refused.status is Status.FAILED
    log = site.log_of(refused)
    assert "an earlier deployment was interrupted" in log or f"{app}-green runs, too" in log
    assert _answers(site, app) == {"good"}
    assert site.current(app).name == good.release
    better = site.ship(app, app_files("better"))
    assert (better.status, _answers(site, app)) == (Status.SUCCEEDED, {"better"})
    assert "interrupted" not in site.log_of(better)


@pytest.mark.threat(13)
def test_killed_after_health_check(site: Installation) -> None:
    """The deployment has succeeded."""
    app = "two"
    answer = '    start_response("200 OK"'
    slow = WSGI.format(version="one", health="200 OK").replace(
        answer, f'    if environ["PATH_INFO"] == "/slow":\n        time.sleep(8)\n{answer}'
    )
    site.ship(app, {**app_files("one"), "wsgi.py": f"import time\n{slow}"})
    visitor = http.client.HTTPConnection("127.0.0.1", site.ports[app], timeout=30)
    visitor.request("GET", "/slow")
    site.repositories[app].commit_and_push(app_files("two"))
    deployment = site.send_push(app)["deployment"]
    site.wait_for_step(deployment, "stop_old")
    os.kill(site.deployer(app), signal.SIGKILL)
    ended = site.wait_for_ending(deployment)
    assert ended.status is Status.SUCCEEDED
    assert ended.cause == f"the deploying process was killed, after the health check of {ended.release}"
    wait_for(lambda: site.records.history(app, 1)[0].trigger is Trigger.RECONCILE, what="the next deployment")
    assert site.wait_for_ending(site.records.history(app, 1)[0].id).status in (Status.UNCHANGED, Status.SUCCEEDED)
    visitor.close()
    assert _answers(site, app) == {"two"}


@pytest.mark.threat(51)
def test_stop_leftover_colour(site: Installation) -> None:
    app = "two"
    old = site.ship(app, app_files("old"))
    new = site.ship(app, app_files("new"))
    [idle] = (colour for colour in ("blue", "green") if site.circus("status", f"{app}-{colour}") == "stopped")
    link = site.root(app) / idle
    assert link.resolve().name == new.release
    _point(link, site.root(app) / "releases" / str(old.release))
    site.circus("start", f"{app}-{idle}")
    _wait_for_answer(site, app, "old")
    assert site.push_and_wait(app).status is Status.UNCHANGED
    assert _answers(site, app) == {"new"}


@pytest.mark.threat(51)
def test_both_colours_link_to_current(site: Installation) -> None:
    """A later start of either colour starts the current release. A link that was moved is repaired."""
    app = "two"
    old, new = (site.ship(app, app_files(version)) for version in ("three", "four"))
    broken = site.ship(app, app_files("five", "500 Oops"))
    assert broken.status is Status.ROLLED_BACK
    assert {(site.root(app) / name).resolve().name for name in ("blue", "green", "current")} == {new.release}
    _point(site.root(app) / "current", site.root(app) / "releases" / str(old.release))
    assert site.push_and_wait(app).status is Status.UNCHANGED
    assert site.current(app).name == new.release


def _kill_while_it_is_checked(site: Installation, app: str, then: Mapping[str, str | bytes | None]) -> Deployment:
    """Kill a deployment before its health check ends, and return the automatic next one, of the files `then`."""
    site.repositories[app].commit_and_push({**app_files("unverified"), "wsgi.py": NEVER_READY})
    deployment = site.send_push(app)["deployment"]
    site.wait_for_step(deployment, "health")
    _wait_for_answer(site, app, "unverified")
    site.repositories[app].commit_and_push(then)
    os.kill(site.deployer(app), signal.SIGKILL)
    killed = site.wait_for_ending(deployment)
    assert killed.status is Status.FAILED
    assert (killed.cause or "").startswith("the deploying process was killed")
    wait_for(lambda: site.records.history(app, 1)[0].trigger is Trigger.RECONCILE, what="the next deployment")
    return site.wait_for_ending(site.records.history(app, 1)[0].id)


def _answers(site: Installation, app: str) -> set[str]:
    """Return the answers to more visitors than one release can serve at a time."""
    with visitors(site.ports[app], 4) as crowd:
        crowd.wait_for_more(40)
    assert crowd.failures == []
    return crowd.pages


def _wait_for_answer(site: Installation, app: str, version: str) -> None:
    with visitors(site.ports[app], 4) as crowd:
        wait_for(lambda: version in crowd.pages, what=f"{version} from {app}")


def _point(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


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
    assert [old.commit for old in site.status(app).quarantined] == [commit]
    again = site.send_push(app, delivery="d-1")["deployment"]
    assert (site.wait_for_ending(again).status, book.tries) == (Status.FAILED, 2 + MAX_CRASHES)
    book.does("true")
    redelivered = site.wait_for_ending(site.send_push(app, delivery="d-1")["deployment"])
    assert (redelivered.trigger, redelivered.status, site.serving(app)) == (Trigger.REDELIVERY, Status.SUCCEEDED, "two")
    assert site.status(app).quarantined == ()


def ended(site: Installation, app: str) -> int:
    return sum(one.ended for one in site.records.history(app, 99))


@pytest.mark.threat(84)
def test_failed_build_is_retried(site: Installation) -> None:
    app, book = "unlucky", Book(site, "unlucky")
    book.does("false")
    site.repositories[app].commit_and_push(app_files("one"))
    tries = MAX_CRASHES + 1
    assert {site.deploy(app, Trigger.PUSH).status for _ in range(tries)} == {Status.FAILED}
    assert (book.tries, site.status(app).quarantined) == (tries, ())
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
