"""A broken deploy leaves the old version serving, whatever is wrong with it, and the next good one deploys."""

from pathlib import Path
from typing import Any

import pytest

from hookd.contract.deployment import Status
from tests.support.installation import Installation, app_files
from tests.support.visitors import visitors

BOTH = pytest.mark.parametrize("handover", ["bg", "one"])
HANDOVERS = {"bg": "blue-green", "one": "restart"}
APPS: dict[str, dict[str, Any]] = {
    f"{name}-{short}": {"handover": handover}
    for name in ("shop", "new", "late", "clock")
    for short, handover in HANDOVERS.items()
}

# `top` runs at import, `health` when the health page is asked for. The server asks its own app for that page before it
# takes requests, and says so; `hookd` asks over the network.
APP = """
import os, signal, time
{top}
def app(environ, start_response):
    at_start = environ["SERVER_SOFTWARE"] == "hookd-health"
    if environ["PATH_INFO"] == "/healthz":
        {health}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"broken"]
"""
ANSWER_500 = 'start_response("500 Oops", []); return [b""]'
ONLY_IN_PREFLIGHT = 'assert "HOOKD_APP" in os.environ, "no database"'

# What is wrong with the commit → the ending, and whether it was started before that was known.
BROKEN = {
    "does not import": ({"top": "import no_such_package", "health": "pass"}, Status.FAILED),
    "is no Python": ({"top": "def (", "health": "pass"}, Status.FAILED),
    "crashes at start": ({"top": ONLY_IN_PREFLIGHT, "health": "pass"}, Status.ROLLED_BACK),
    "answers 500": ({"top": "", "health": ANSWER_500}, Status.ROLLED_BACK),
    "hangs on the health page": ({"top": "", "health": "time.sleep(60)"}, Status.ROLLED_BACK),
    "ends when it is ready": ({"top": "", "health": "os.kill(os.getppid(), signal.SIGTERM)"}, Status.ROLLED_BACK),
}


@BOTH
@pytest.mark.parametrize("kind", BROKEN)
def test_no_visitor_sees_a_commit_that(site: Installation, handover: str, kind: str) -> None:
    app = f"shop-{handover}"
    good = site.ship(app, app_files("good"))
    wrong, ending = BROKEN[kind]
    with visitors(site.ports[app]) as crowd:
        bad = site.ship(app, _broken(**wrong))
        served = site.current(app).name
        better = site.ship(app, app_files("better"))
    assert (bad.status, served) == (ending, good.release)
    assert _quarantined(site, app, bad.commit) is (ending is Status.FAILED)
    assert (better.status, site.serving(app)) == (Status.SUCCEEDED, "better")
    assert (crowd.failures, crowd.seen) == ([], {"good", "better"})


@BOTH
def test_a_rolled_back_deployment_says_why_and_what_serves(site: Installation, handover: str) -> None:
    app = f"shop-{handover}"
    good = site.ship(app, app_files("good"))
    bad = site.ship(app, _broken(top="", health=ANSWER_500))
    assert bad.cause is not None
    assert bad.cause.startswith(f"the new release is bad, {good.release}")
    assert f"{bad.status}: {bad.cause}" in site.log_of(bad)
    view = site.records.view(app)
    assert (view.deployed_commit, view.head, view.healthy) == (good.commit, bad.commit, True)
    assert [entry.commit for entry in view.quarantined][-1:] == [bad.commit]


@BOTH
def test_a_first_release_that_is_broken_is_failed_and_the_next_good_one_goes_live(
    site: Installation, handover: str
) -> None:
    app = f"new-{handover}"
    for attempt in ("first", "second"):
        bad = site.ship(app, _broken(top=f"# {attempt}", health=ANSWER_500))
        assert bad.status is Status.FAILED
        assert (bad.cause or "").startswith("the first release is bad")
        assert site.records.view(app).healthy is False
    good = site.ship(app, app_files("good"))
    assert (good.status, site.serving(app)) == (Status.SUCCEEDED, "good")


def test_when_the_old_release_is_broken_too_the_ending_says_so(site: Installation) -> None:
    app, database = "late-one", site.directory / "database"
    database.touch()
    site.ship(app, _needs(database))
    database.unlink()
    both = site.ship(app, {**_needs(database), "more.txt": "another commit"})
    assert (both.status, site.records.view(app).healthy) == (Status.ROLLBACK_FAILED, False)
    assert "the old one is not well either" in (both.cause or "")
    database.touch()
    mended = site.ship(app, {**_needs(database), "more.txt": "a third"})
    assert (mended.status, site.serving(app)) == (Status.SUCCEEDED, "broken")


def test_after_a_failed_rollback_the_release_that_was_good_is_tried_again_and_not_an_older_one(
    site: Installation,
) -> None:
    app, database = "clock-one", site.directory / "clock"
    database.touch()
    site.ship(app, app_files("oldest"))
    site.ship(app, _needs(database))
    database.unlink()
    assert site.ship(app, {**_needs(database), "more.txt": "another"}).status is Status.ROLLBACK_FAILED
    database.touch()
    refused = site.ship(app, _broken(top="import no_such_package", health="pass"))
    assert (refused.status, site.serving(app)) == (Status.FAILED, "broken")


@BOTH
def test_a_health_page_that_hangs_for_hookd_alone_ends_at_its_deadline(site: Installation, handover: str) -> None:
    app = f"late-{handover}"
    site.change_app(app, health={"deadline": 20})
    site.ship(app, app_files("good"))
    site.change_app(app, health={"deadline": 4, "timeout": 1})
    bad = site.ship(app, _broken(top="", health="at_start or time.sleep(3)"))
    assert bad.status in (Status.ROLLED_BACK, Status.ROLLBACK_FAILED)
    assert "gave no answer" in (bad.cause or "")
    site.change_app(app, health={"deadline": 20, "timeout": 5})
    assert site.ship(app, app_files("better")).status is Status.SUCCEEDED
    assert site.serving(app) == "better"


def _broken(top: str, health: str) -> dict[str, str | bytes | None]:
    return {**app_files("broken"), "wsgi.py": APP.format(top=top, health=health)}


def _needs(database: Path) -> dict[str, str | bytes | None]:
    return _broken(top="", health=f"if not os.path.exists({str(database)!r}): {ANSWER_500}")


def _quarantined(site: Installation, app: str, commit: str | None) -> bool:
    return commit in {entry.commit for entry in site.records.view(app).quarantined}
