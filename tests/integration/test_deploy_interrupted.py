"""A deployment that is killed between two releases: the next one first makes the last good release serve alone."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hookd.contract.deployment import Status
from tests.support.installation import Installation, app_files
from tests.support.processes import python, wait_for
from tests.support.visitors import visitors

APPS: dict[str, dict[str, Any]] = {
    name: {"handover": handover}
    for name, handover in {
        **{"half-one": "restart", "half-bg": "blue-green", "new-one": "restart", "new-bg": "blue-green"},
        **{"two-bg": "blue-green", "link-bg": "blue-green"},
    }.items()
}
NO_IMPORT = "import no_such_package"
# Well when it asks itself at its start, never ready when hookd asks over the network.
NEVER_READY = """
def app(environ, start_response):
    ready = environ["PATH_INFO"] != "/healthz" or environ["SERVER_SOFTWARE"] == "hookd-health"
    start_response("200 OK" if ready else "503 Not yet", [("Content-Type", "text/plain")])
    return [b"unverified"]
"""


@pytest.mark.parametrize("app", ["half-one", "half-bg"])
def test_an_unverified_release_goes_before_the_next_deployment_does_anything_else(site: Installation, app: str) -> None:
    good = site.ship(app, app_files("good"))
    _kill_while_it_is_checked(site, app)
    _wait_for_answer(site, app, "unverified")
    refused = site.ship(app, {"wsgi.py": NO_IMPORT})
    assert refused.status is Status.FAILED
    assert "an earlier deployment was interrupted" in site.log_of(refused)
    assert _answers(site, app) == {"good"}
    assert site.current(app).name == good.release
    better = site.ship(app, app_files("better"))
    assert (better.status, _answers(site, app)) == (Status.SUCCEEDED, {"better"})
    assert "interrupted" not in site.log_of(better)


@pytest.mark.parametrize("app", ["new-one", "new-bg"])
def test_a_first_deployment_that_was_killed_does_not_stand_in_the_way_of_the_next(site: Installation, app: str) -> None:
    _kill_while_it_is_checked(site, app)
    good = site.ship(app, app_files("good"))
    assert (good.status, _answers(site, app)) == (Status.SUCCEEDED, {"good"})


def test_an_old_colour_that_was_left_running_is_stopped_even_when_nothing_is_new(site: Installation) -> None:
    app = "two-bg"
    old = site.ship(app, app_files("old"))
    new = site.ship(app, app_files("new"))
    blue = site.root(app) / "blue"
    assert blue.resolve().name == new.release
    _point(blue, site.root(app) / "releases" / str(old.release))
    _circus(site, "start", f"{app}-blue")
    _wait_for_answer(site, app, "old")
    assert site.push_and_wait(app).status is Status.UNCHANGED
    assert _answers(site, app) == {"new"}


def test_both_colours_lead_to_the_release_that_serves_whichever_is_started_next(site: Installation) -> None:
    app = "link-bg"
    shipped = [site.ship(app, app_files(version)) for version in ("one", "two")]
    broken = site.ship(app, app_files("three", "500 Oops"))
    assert broken.status is Status.ROLLED_BACK
    leads = {(site.root(app) / name).resolve().name for name in ("blue", "green", "current")}
    assert leads == {shipped[-1].release}


def test_a_current_link_that_lags_behind_the_journal_is_set_right(site: Installation) -> None:
    app = "link-bg"
    one = site.ship(app, app_files("four"))
    two = site.ship(app, app_files("five"))
    _point(site.root(app) / "current", site.root(app) / "releases" / str(one.release))
    assert site.push_and_wait(app).status is Status.UNCHANGED
    assert site.current(app).name == two.release


def _kill_while_it_is_checked(site: Installation, app: str) -> None:
    site.repositories[app].commit_and_push({**app_files("unverified"), "wsgi.py": NEVER_READY})
    deployment = site.send_push(app)["deployment"]
    site.wait_for_step(deployment, "health")
    os.kill(site.deployer(app), signal.SIGKILL)
    assert site.wait_for_ending(deployment).cause == "the deploying process was killed"


def _answers(site: Installation, app: str) -> set[str]:
    """What many visitors at once are answered: more of them than one release can serve at a time."""
    with visitors(site.ports[app], 4) as crowd:
        crowd.wait_for_more(100)
    assert crowd.failures == []
    return crowd.seen


def _wait_for_answer(site: Installation, app: str, version: str) -> None:
    with visitors(site.ports[app], 4) as crowd:
        wait_for(lambda: version in crowd.seen, what=f"{version} from {app}")


def _point(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


def _circus(site: Installation, verb: str, name: str) -> None:
    command = python("-m", "circus.circusctl", "--endpoint", site.endpoint, verb, "--waiting", name)
    subprocess.run(command, check=True, capture_output=True)
