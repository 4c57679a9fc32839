"""A broken commit leaves the old version serving, and the next good commit deploys."""

from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files
from tests.support.visitors import visitors

BOTH = pytest.mark.parametrize("handover", ["bg", "one"])
HANDOVERS = {"bg": "blue-green", "one": "restart"}
APPS: dict[str, dict[str, Any]] = {
    f"{name}-{short}": {"handover": handover, "health": {"deadline": 8}}
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

# What is wrong with the commit; each of them passes the preflight.
BROKEN = {
    "crashes at start": {"top": ONLY_IN_PREFLIGHT, "health": "pass"},
    "answers 500": {"top": "", "health": ANSWER_500},
    "hangs on the health page": {"top": "", "health": "time.sleep(60)"},
    "dies of its health page": {"top": "", "health": "os._exit(1)"},
}


@pytest.mark.threat(28)
@pytest.mark.promise(7, 20)
@BOTH
@pytest.mark.parametrize("kind", BROKEN)
def test_visitors_see_no_bad_release(site: Installation, handover: str, kind: str) -> None:
    app = f"shop-{handover}"
    good = _good(site, app)
    with visitors(site.ports[app]) as crowd:
        bad = site.ship(app, _broken(**BROKEN[kind]))
        crowd.wait_for_more()
    assert (bad.status, crowd.failures, crowd.pages) == (Status.ROLLED_BACK, [], {"good"})
    assert bad.cause is not None
    assert bad.cause.startswith(f"the new release is bad, {good.name}")
    assert f"{bad.status}: {bad.cause}" in site.log_of(bad)
    assert site.current(app) == good
    view = AppStatusStore(site.records.connection).read(app)
    assert (view.release, view.head, view.healthy) == (good.name, bad.commit, True)
    assert view.quarantined[-1].commit == bad.commit


@pytest.mark.threat(28)
@pytest.mark.promise(7)
@BOTH
def test_release_that_ends_is_rolled_back(site: Installation, handover: str) -> None:
    app = f"shop-{handover}"
    _good(site, app)
    with visitors(site.ports[app]) as crowd:
        bad = site.ship(app, _broken(top="", health="os.kill(os.getppid(), signal.SIGTERM)"))
    assert (bad.status, crowd.failures, site.serving(app)) == (Status.ROLLED_BACK, [], "good")


@pytest.mark.threat(15)
@pytest.mark.promise(26)
@BOTH
def test_good_commit_after_bad_one(site: Installation, handover: str) -> None:
    app = f"shop-{handover}"
    _good(site, app)
    assert site.ship(app, _broken(**BROKEN["crashes at start"])).status is Status.ROLLED_BACK
    with visitors(site.ports[app]) as crowd:
        better = site.ship(app, app_files("better"))
    assert (better.status, crowd.failures, crowd.pages) == (Status.SUCCEEDED, [], {"good", "better"})
    assert site.serving(app) == "better"


@pytest.mark.promise(6, 19)
@pytest.mark.parametrize("text", ["import no_such_package", "def ("])
def test_unimportable_commit_is_not_started(site: Installation, text: str) -> None:
    app = "shop-bg"
    good = _good(site, app)
    bad = site.ship(app, _broken(top=text, health="pass"))
    assert (bad.status, bad.release) == (Status.FAILED, None)
    assert (bad.cause or "").startswith("the app does not start from this commit: ")
    assert {step.name for step in bad.steps} == {
        *("disk_space", "fetch", "checkout", "dependencies", "shared_files", "preflight"),
    }
    assert AppStatusStore(site.records.connection).read(app).quarantined[-1].commit == bad.commit
    assert (site.current(app), site.serving(app)) == (good, "good")
    assert sorted(path.name for path in good.parent.iterdir() if bad.commit and bad.commit[:12] in path.name) == []


@pytest.mark.promise(23)
@BOTH
def test_broken_first_release(site: Installation, handover: str) -> None:
    app = f"new-{handover}"
    for attempt in ("first", "second"):
        bad = site.ship(app, _broken(top=f"# {attempt}", health=ANSWER_500))
        assert bad.status is Status.FAILED
        assert (bad.cause or "").startswith("the first release is bad")
        assert AppStatusStore(site.records.connection).read(app).healthy is False
    good = site.ship(app, app_files("good"))
    assert (good.status, site.serving(app)) == (Status.SUCCEEDED, "good")


@pytest.mark.promise(21)
def test_both_releases_broken(
    site: Installation,
) -> None:
    """The ending is rollback_failed, and the next deployment tries again."""
    app, database = "clock-one", site.directory / "database"
    database.touch()
    site.ship(app, app_files("oldest"))
    site.ship(app, _needs(database))
    database.unlink()
    both = site.ship(app, {**_needs(database), "more.txt": "another commit"})
    assert (both.status, AppStatusStore(site.records.connection).read(app).healthy) == (Status.ROLLBACK_FAILED, False)
    assert "the old one is unhealthy" in (both.cause or "")
    database.touch()
    refused = site.ship(app, _broken(top="import no_such_package", health="pass"))
    assert (refused.status, site.serving(app)) == (Status.FAILED, "broken")
    mended = site.ship(app, app_files("mended"))
    assert (mended.status, site.serving(app)) == (Status.SUCCEEDED, "mended")


@pytest.mark.threat(28)
def test_hanging_health_page(site: Installation) -> None:
    """It hangs for hookd alone and ends at its deadline."""
    app = "late-bg"
    site.ship(app, app_files("good"))
    site.change_app(app, health={"deadline": 4, "timeout": 1})
    bad = site.ship(app, _broken(top="", health="at_start or time.sleep(1.5)"))
    assert bad.status is Status.ROLLED_BACK
    assert "gives no answer" in (bad.cause or "")
    assert {site.serving(app) for _ in range(10)} == {"good"}
    site.change_app(app, health={"deadline": 20, "timeout": 5})
    assert site.ship(app, app_files("better")).status is Status.SUCCEEDED
    assert site.serving(app) == "better"


def _broken(top: str, health: str) -> dict[str, str | bytes | None]:
    return {**app_files("broken"), "wsgi.py": APP.format(top=top, health=health)}


def _needs(database: Path) -> dict[str, str | bytes | None]:
    return _broken(top="", health=f"if not os.path.exists({str(database)!r}): {ANSWER_500}")


def _good(site: Installation, app: str) -> Path:
    """Deploy a good release and return its directory."""
    if not (site.root(app) / "current").exists() or site.serving(app) != "good":
        assert site.ship(app, app_files("good")).status is Status.SUCCEEDED
    return site.current(app)
