"""The reconciler repairs drift of links and services."""

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status
from hookd.model.redis_keys import decisions_key, history_key
from tests.support.installation import Installation, app_files
from tests.support.processes import listens, python, running, wait_for
from tests.support.reconciling import answers, decided, ending, look_at, move
from tests.support.visitors import visitors

APPS: dict[str, dict[str, Any]] = {"one": {"handover": "restart"}, "two": {"handover": "blue-green"}}
# The two deployments of each app.
Shipped = Mapping[str, tuple[Deployment, Deployment]]
# Each is deployed twice, changed by hand and repaired by each test.
HANDLED = ("one", "two")


@pytest.fixture(scope="module")
def handled(site: Installation) -> Shipped:
    """Deploy each app twice."""
    return {app: (site.ship(app, app_files("one")), site.ship(app, app_files("two"))) for app in HANDLED}


@pytest.fixture
def shipped(site: Installation, handled: Shipped) -> Shipped:
    """The same without history, so that no repair has a backoff."""
    for app in handled:
        site.records.connection.delete(history_key(app), decisions_key(app))
    return handled


@pytest.mark.threat(37)
def test_app_without_drift_is_left_alone(site: Installation, shipped: Shipped) -> None:
    for app, watcher in (("one", "one"), ("two", "two-green")):
        before = site.circus("list", watcher)
        for _ in range(3):
            assert look_at(site, app).verdict is Verdict.UNCHANGED
        assert len(decided(site, app)) == 1
        assert decided(site, app)[0].running is not None
        assert site.current(app).name in str(decided(site, app)[0].running)
        assert site.records.history(app, 10) == []
        assert site.circus("list", watcher) == before


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_moved_current_link_is_repaired(site: Installation, shipped: Shipped) -> None:
    app, (old, new) = "one", shipped["one"]
    before = site.circus("list", app)
    move(site.root(app) / "current", old.release)
    record = ending(site, look_at(site, app))
    assert (record.status, record.cause) == (Status.SUCCEEDED, f"repaired: current does not lead to {new.release}")
    assert site.current(app).name == new.release
    assert site.circus("list", app) == before
    assert look_at(site, app).verdict is Verdict.UNCHANGED


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_service_with_old_release_is_restarted(site: Installation, shipped: Shipped) -> None:
    app, (old, new) = "one", shipped["one"]
    move(site.root(app) / "current", old.release)
    site.circus("restart", app)
    wait_for(lambda: site.serving(app) == "one", what="the old release")
    record = ending(site, look_at(site, app))
    assert record.status is Status.SUCCEEDED
    assert f"{app} runs another release than {new.release}" in str(record.cause)
    assert answers(site, app) == {"two"}


@pytest.mark.threat(36)
def test_running_idle_colour_is_stopped(site: Installation, shipped: Shipped) -> None:
    before = site.circus("list", "two-green")
    site.circus("start", "two-blue")
    record = ending(site, look_at(site, "two"))
    assert (record.status, record.cause) == (Status.SUCCEEDED, "repaired: two-blue runs, too")
    assert site.circus("status", "two-blue") == "stopped"
    assert site.circus("list", "two-green") == before


@pytest.mark.threat(36)
def test_wrong_colour_is_replaced(site: Installation, shipped: Shipped) -> None:
    move(site.root("two") / "blue", shipped["two"][0].release)
    site.circus("start", "two-blue")
    site.circus("stop", "two-green")
    with visitors(site.ports["two"], 4) as crowd:
        record = ending(site, look_at(site, "two"))
        wait_for(lambda: "two" in crowd.pages, what="the right release")
    assert record.status is Status.SUCCEEDED
    assert crowd.failures == []
    assert answers(site, "two") == {"two"}


def test_apps_start_after_circus(site: Installation, shipped: Shipped) -> None:
    """Only the journal knows the colour that serves, so circus starts no app by itself."""
    subprocess.run(python("-m", "circus.circusctl", "--endpoint", site.endpoint, "quit", "--waiting"), check=False)
    wait_for(lambda: not listens(site.ports["one"]), what="the end of circus")
    site.start_manager()
    wait_for(lambda: site.circus("status", "one") == "stopped", what="circus")
    log = site.directory / "boot.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "60", "one"), log, site.environment):
        wait_for(lambda: site.circus("status", "two-green") == "active", 60, what="the colour that served")
    for app in ("one", "two"):
        assert answers(site, app) == {"two"}
    assert site.circus("status", "two-blue") == "stopped"
