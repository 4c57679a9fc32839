"""A push goes live without a failed request."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status
from tests.support.installation import REQUIREMENTS, Installation, app_files
from tests.support.processes import wait_for
from tests.support.visitors import ask, visitors

APPS: dict[str, dict[str, Any]] = {"bg": {"handover": "blue-green"}, "one": {"handover": "restart"}}
BOTH = pytest.mark.parametrize("app", APPS)

# Answers `/slow` only when a file allows it, and says in another file that it has begun.
SLOW = """
import os, time
VERSION = {version!r}
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open({begun!r}, "w").close()
        while not os.path.exists({go!r}):
            time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""

USES_PACKAGE = """
import packaging
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [packaging.__version__.encode()]
"""


@pytest.mark.threat(78)
@pytest.mark.promise(2, 16)
@BOTH
def test_no_failed_request_during_deploy(site: Installation, app: str) -> None:
    """Record, link and status agree after it."""
    first = site.ship(app, app_files("one"))
    assert (first.status, site.serving(app)) == (Status.SUCCEEDED, "one")
    commit = site.repositories[app].commit_and_push(app_files("two"), "say two")
    with visitors(site.ports[app]) as crowd:
        second = site.push_and_wait(app)
        after = [site.serving(app) for _ in range(20)]
    assert (second.status, second.cause) == (Status.SUCCEEDED, None)
    assert crowd.failures == []
    assert crowd.pages == {"one", "two"}
    assert set(after) == {"two"}
    view = site.status(app)
    assert (second.commit, second.subject, second.author) == (commit, "say two", "Ada Lovelace")
    assert (view.deployed_commit, view.head, view.healthy) == (commit, commit, True)
    assert site.current(app).name == second.release == view.release
    assert all(step.outcome == "done" and step.seconds is not None for step in second.steps)
    assert not (site.current(app) / ".git").exists()


def test_dependency_goes_live_with_code(site: Installation) -> None:
    app, files = "one", {"wsgi.py": USES_PACKAGE}
    site.ship(app, {**files, "requirements.txt": f"{REQUIREMENTS}packaging==24.2\n"})
    assert site.serving(app) == "24.2"
    with visitors(site.ports[app]) as crowd:
        second = site.ship(app, {**files, "requirements.txt": f"{REQUIREMENTS}packaging==25.0\n"})
    assert second.status is Status.SUCCEEDED
    assert (crowd.failures, crowd.pages) == ([], {"24.2", "25.0"})
    assert site.serving(app) == "25.0"


@pytest.mark.threat(78)
@BOTH
def test_running_request_is_answered(site: Installation, app: str) -> None:
    """The release that took the request answers it."""
    begun, go = (site.directory / f"{app}.{what}" for what in ("begun", "go"))
    site.ship(app, _slow("one", begun, go))
    with ThreadPoolExecutor(1) as visitor:
        answer = visitor.submit(ask, site.ports[app], "/slow")
        wait_for(begun.exists, what="the slow request")
        site.repositories[app].commit_and_push(_slow("two", begun, go))
        deployment = site.send_push(app)["deployment"]
        site.wait_for_step(deployment, "stop_old" if app == "bg" else "restart")
        go.touch()
        assert answer.result(60) == "one"
    assert site.wait_for_ending(deployment).status is Status.SUCCEEDED
    assert ask(site.ports[app]) == "two"


@pytest.mark.promise(17)
def test_same_head_is_unchanged(site: Installation) -> None:
    app = "one"
    if not (site.root(app) / "current").exists():
        site.ship(app, app_files("one"))
    before = _journal(site, app), os.stat(site.root(app) / "current", follow_symlinks=False).st_ino
    again = site.push_and_wait(app)
    assert again.status is Status.UNCHANGED
    assert again.cause == f"{site.repositories[app].head()[:12]} is already deployed"
    assert before == (_journal(site, app), os.stat(site.root(app) / "current", follow_symlinks=False).st_ino)


def _slow(version: str, begun: Path, go: Path) -> dict[str, str | bytes | None]:
    return {**app_files(version), "wsgi.py": SLOW.format(version=version, begun=str(begun), go=str(go))}


def _journal(site: Installation, app: str) -> list[dict[str, Any]]:
    lines = (site.directory / "state" / "journals" / f"{app}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
