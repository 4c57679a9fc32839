"""A broken commit leaves the old version serving, and the next good commit deploys."""

from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status
from tests.support.installation import Installation, app_files
from tests.support.visitors import visitors

BOTH = pytest.mark.parametrize("handover", ["bg", "one"])
HANDOVERS = {"bg": "blue-green", "one": "restart"}
# The default, which other tests replace with a faster command.
DEFAULT_CHECK = ["gunicorn", "--check-config", "wsgi:app"]
APPS: dict[str, dict[str, Any]] = {
    f"{name}-{short}": {"handover": handover, "health": {"deadline": 8}, "service": {"preflight": DEFAULT_CHECK}}
    for name in ("shop", "new")
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
ONLY_IN_CHECK = 'assert "HOOKD_HEALTH_PATH" not in os.environ, "no database"'

# What the health page does, by handover.
BROKEN = {
    "answers 500-bg": (ANSWER_500, "bg"),
    "answers 500-one": (ANSWER_500, "one"),
    "hangs": ("time.sleep(60)", "one"),
    "kills its process": ("os._exit(1)", "bg"),
}


@pytest.mark.threat(28)
@pytest.mark.promise(7, 20)
@pytest.mark.parametrize(("health", "handover"), BROKEN.values(), ids=BROKEN)
def test_visitors_see_no_bad_release(site: Installation, health: str, handover: str) -> None:
    _assert_rolled_back(site, f"shop-{handover}", _broken(top="", health=health))


@pytest.mark.threat(28)
@pytest.mark.promise(7)
def test_release_that_ends_is_rolled_back(site: Installation) -> None:
    """Its server ends after a worker passed the check, so visitors may see it."""
    app = "shop-one"
    _good(site, app)
    with visitors(site.ports[app]) as crowd:
        bad = site.ship(app, _broken(top="", health="os.kill(os.getppid(), signal.SIGTERM)"))
    assert (bad.status, crowd.failures, site.serving(app)) == (Status.ROLLED_BACK, [], "good")


@pytest.mark.threat(15, 28)
@pytest.mark.promise(7, 20, 26)
@BOTH
def test_good_commit_after_crash(site: Installation, handover: str) -> None:
    """The bad commit passes the check and crashes at its start."""
    app = f"shop-{handover}"
    _assert_rolled_back(site, app, _broken(top=ONLY_IN_CHECK, health="pass"))
    with visitors(site.ports[app]) as crowd:
        better = site.ship(app, app_files("better"))
    assert (better.status, crowd.failures, crowd.pages) == (Status.SUCCEEDED, [], {"good", "better"})
    assert site.serving(app) == "better"


def _assert_rolled_back(site: Installation, app: str, files: dict[str, str | bytes | None]) -> None:
    """Deploy a bad commit and check that visitors see the good release alone."""
    good = _good(site, app)
    with visitors(site.ports[app]) as crowd:
        bad = site.ship(app, files)
        crowd.wait_for_more()
    assert (bad.status, crowd.failures, crowd.pages) == (Status.ROLLED_BACK, [], {"good"})
    assert bad.cause is not None
    assert f"; {good.name} serves" in bad.cause
    assert f"{bad.status}: {bad.cause}" in site.log_of(bad)
    assert site.current(app) == good
    view = site.status(app)
    assert (view.release, view.head, view.healthy) == (good.name, bad.commit, True)
    assert view.quarantined[-1].commit == bad.commit


@pytest.mark.promise(6, 19)
def test_unimportable_commit_is_not_started(site: Installation) -> None:
    app = "shop-bg"
    good = _good(site, app)
    bad = site.ship(app, _broken(top="import no_such_package", health="pass"))
    assert (bad.status, bad.release) == (Status.FAILED, None)
    assert (bad.cause or "").startswith("the app does not start from this commit: ")
    assert {step.name for step in bad.steps} == {
        *("disk_space", "fetch", "checkout", "dependencies", "shared_files", "ownership", "preflight"),
    }
    assert site.status(app).quarantined[-1].commit == bad.commit
    assert (site.current(app), site.serving(app)) == (good, "good")
    assert sorted(path.name for path in good.parent.iterdir() if bad.commit and bad.commit[:12] in path.name) == []


@pytest.mark.promise(23)
@pytest.mark.parametrize(("handover", "attempts"), [("bg", 2), ("one", 1)])
def test_broken_first_release(site: Installation, handover: str, attempts: int) -> None:
    app = f"new-{handover}"
    for attempt in range(attempts):
        bad = site.ship(app, _broken(top=f"# {attempt}", health=ANSWER_500))
        assert bad.status is Status.FAILED
        assert (bad.cause or "").startswith("the first release is bad")
        assert site.status(app).healthy is False
    good = site.ship(app, app_files("good"))
    assert (good.status, site.serving(app)) == (Status.SUCCEEDED, "good")


@pytest.mark.promise(21)
def test_both_releases_broken(site: Installation) -> None:
    """The ending is rollback_failed, and the next deployment tries again."""
    app, database = "shop-one", site.directory / "database"
    database.touch()
    _good(site, app)
    site.ship(app, _needs(database))
    database.unlink()
    both = site.ship(app, {**_needs(database), "more.txt": "another commit"})
    assert (both.status, site.status(app).healthy) == (Status.ROLLBACK_FAILED, False)
    assert "the old one is unhealthy" in (both.cause or "")
    database.touch()
    refused = site.ship(app, _broken(top="import no_such_package", health="pass"))
    assert (refused.status, site.serving(app)) == (Status.FAILED, "broken")
    fixed = site.ship(app, app_files("fixed"))
    assert (fixed.status, site.serving(app)) == (Status.SUCCEEDED, "fixed")


@pytest.mark.threat(28)
def test_hanging_health_page(site: Installation) -> None:
    """It hangs for hookd alone and ends at its deadline."""
    app = "shop-bg"
    _good(site, app)
    site.change_app(app, health={"deadline": 4, "timeout": 1})
    bad = site.ship(app, _broken(top="", health="at_start or time.sleep(1.5)"))
    assert bad.status is Status.ROLLED_BACK
    assert "gives no answer" in (bad.cause or "")
    assert {site.serving(app) for _ in range(10)} == {"good"}
    site.change_app(app, health={"deadline": 8, "timeout": 5})


def _broken(top: str, health: str) -> dict[str, str | bytes | None]:
    return {**app_files("broken"), "wsgi.py": APP.format(top=top, health=health)}


def _needs(database: Path) -> dict[str, str | bytes | None]:
    return _broken(top="", health=f"if not os.path.exists({str(database)!r}): {ANSWER_500}")


def _good(site: Installation, app: str) -> Path:
    """Deploy a good release and return its directory."""
    if not (site.root(app) / "current").exists() or site.serving(app) != "good":
        assert site.ship(app, app_files("good")).status is Status.SUCCEEDED
    return site.current(app)
