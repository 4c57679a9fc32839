"""The reconciler repairs drift, deploys missed pushes, and respects stopped, frozen and unhealthy apps."""

import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd import freezes
from hookd.model.decision import Freeze, Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.redis_keys import decisions_key, history_key
from tests.support.installation import Installation, app_files
from tests.support.processes import listens, python, running, wait_for
from tests.support.reconciling import answers, decided, ending, hookd, move, reconcile_app, run_reconciler
from tests.support.visitors import visitors

APPS: dict[str, dict[str, Any]] = {
    "one": {"handover": "restart"},
    "two": {"handover": "blue-green"},
    "sick": {"handover": "blue-green"},
}
# The two deployments of each app.
Shipped = Mapping[str, tuple[Deployment, Deployment]]
# Each is deployed twice, changed by hand and repaired by the first tests.
HANDLED = ("one", "two")


@pytest.fixture(autouse=True)
def history(site: Installation) -> None:
    """Forget the deployments of earlier tests, so that no repair has a backoff."""
    for app in APPS:
        site.records.connection.delete(history_key(app), decisions_key(app))


@pytest.fixture(scope="module")
def handled(site: Installation) -> Shipped:
    """Deploy each app twice."""
    return {app: (site.ship(app, app_files("one")), site.ship(app, app_files("two"))) for app in HANDLED}


@pytest.fixture
def shipped(handled: Shipped, history: None) -> Shipped:
    """The same without history."""
    return handled


@pytest.mark.threat(37)
def test_app_without_drift_is_left_alone(site: Installation, shipped: Shipped) -> None:
    for app, watcher in (("one", "one"), ("two", "two-green")):
        before = site.circus("list", watcher)
        for _ in range(3):
            assert reconcile_app(site, app).verdict is Verdict.UNCHANGED
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
    record = ending(site, reconcile_app(site, app))
    assert (record.status, record.cause) == (Status.SUCCEEDED, f"repaired: current does not lead to {new.release}")
    assert site.current(app).name == new.release
    assert site.circus("list", app) == before
    assert reconcile_app(site, app).verdict is Verdict.UNCHANGED


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_service_with_old_release_is_restarted(site: Installation, shipped: Shipped) -> None:
    app, (old, new) = "one", shipped["one"]
    move(site.root(app) / "current", old.release)
    site.circus("restart", app)
    wait_for(lambda: site.serving(app) == "one", what="the old release")
    record = ending(site, reconcile_app(site, app))
    assert record.status is Status.SUCCEEDED
    assert f"{app} runs another release than {new.release}" in str(record.cause)
    assert answers(site, app) == {"two"}


@pytest.mark.threat(36)
def test_running_idle_colour_is_stopped(site: Installation, shipped: Shipped) -> None:
    before = site.circus("list", "two-green")
    site.circus("start", "two-blue")
    record = ending(site, reconcile_app(site, "two"))
    assert (record.status, record.cause) == (Status.SUCCEEDED, "repaired: two-blue runs, too")
    assert site.circus("status", "two-blue") == "stopped"
    assert site.circus("list", "two-green") == before


@pytest.mark.threat(36)
def test_wrong_colour_is_replaced(site: Installation, shipped: Shipped) -> None:
    move(site.root("two") / "blue", shipped["two"][0].release)
    site.circus("start", "two-blue")
    site.circus("stop", "two-green")
    with visitors(site.ports["two"], 4) as crowd:
        record = ending(site, reconcile_app(site, "two"))
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


def ship_first(site: Installation, app: str) -> str:
    """Deploy an app unless something serves, and return what serves."""
    if not (site.root(app) / "current").exists():
        assert site.ship(app, app_files("first")).status is Status.SUCCEEDED
    return site.serving(app)


@pytest.mark.threat(5)
@pytest.mark.promise(11)
def test_missed_push_is_deployed(site: Installation) -> None:
    app = "one"
    ship_first(site, app)
    head = site.repositories[app].commit_and_push(app_files("missed"))
    done = run_reconciler(site, "--now", app)
    assert done.returncode == 0, done.stderr
    decision = decided(site, app)[0]
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    record = ending(site, decision)
    assert (record.status, record.trigger, record.commit) == (Status.SUCCEEDED, Trigger.RECONCILE, head)
    assert answers(site, app) == {"missed"}
    assert site.status(app).lag is None


@pytest.mark.threat(49)
def test_wrong_typed_keys_are_deleted(site: Installation) -> None:
    """A compromised receiver could write them, and they would block each request."""
    ship_first(site, "one")
    client = site.records.connection
    for key in ("rq:rl:app-one:allowed", history_key("one")):
        client.delete(key)
        client.hset(key, "no", "set")
    site.repositories["one"].commit_and_push(app_files("spoilt"))
    assert ending(site, reconcile_app(site, "one")).status is Status.SUCCEEDED
    assert answers(site, "one") == {"spoilt"}


@pytest.mark.threat(37)
def test_stopped_service_stays_stopped(site: Installation) -> None:
    app = "two"
    ship_first(site, app)
    [service] = (f"two-{colour}" for colour in ("blue", "green") if site.circus("status", f"two-{colour}") == "active")
    site.repositories[app].commit_and_push(app_files("newer"))
    site.circus("stop", service)
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.STOPPED, None)
    behind = site.status(app).lag
    assert behind is not None
    assert (behind.verdict, behind.commits) == (Verdict.STOPPED, None)
    assert site.circus("status", service) == "stopped"
    start = f"circusctl --endpoint {site.endpoint} start {service}"
    assert decision.why == f"{app} is stopped by a person, to be started with: {start}"
    assert hookd(site, "reconcile", app) == f"{app}: stopped: {decision.why}\n", "it is said each time"
    said = hookd(site, "status", app)
    assert (", unhealthy" in said, f"\n  {app} is stopped\n" in said) == (True, True), said
    assert start in said and "next:" not in said
    assert site.push_and_wait(app).status is Status.SUCCEEDED
    view = site.status(app)
    assert (view.drift, view.healthy, view.lag) == (None, True, None)


@pytest.mark.threat(14)
@pytest.mark.promise(15)
def test_status_comes_back_after_a_flush(site: Installation) -> None:
    app = "one"
    ship_first(site, app)
    good = site.status(app)
    bad = site.ship(app, app_files("bad", "500 Oops"))
    assert bad.status is Status.ROLLED_BACK
    before = site.status(app)
    assert before.lag is not None, "that is said at once, and not by the next look"
    assert (before.lag.verdict, before.lag.commits) == (Verdict.QUARANTINED, 1)
    site.records.connection.delete(*site.records.connection.keys(f"hookd:*{app}*"))
    assert site.status(app).deployed_commit is None
    decision = reconcile_app(site, app)
    view = site.status(app)
    assert decision.verdict is Verdict.QUARANTINED
    served = good.deployed_commit, good.release, before.quarantined
    assert (view.deployed_commit, view.release, view.quarantined) == served
    assert view.head == bad.commit
    assert view.lag is not None
    assert (view.lag.verdict, view.lag.commits) == (Verdict.QUARANTINED, 1)
    since = view.lag.since
    reconcile_app(site, app)
    later = site.status(app).lag
    assert later is not None
    assert later.since == since


@pytest.mark.promise(29)
def test_frozen_app_waits(site: Installation) -> None:
    app, now = "two", datetime.now(UTC)
    ship_first(site, app)
    site.repositories[app].commit_and_push(app_files("thawed"))
    freeze = Freeze(reason="the fair", since=now, until=now + timedelta(hours=1))
    freezes.freeze(site.config.freeze_directory, app, freeze)
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.FROZEN, None)
    assert "the fair" in decision.why
    said = hookd(site, "status", app)
    assert re.search(r"  behind head for \d+ s\n", said)
    assert said.count("the fair") == 1
    freezes.freeze(site.config.freeze_directory, app, freeze.model_copy(update={"until": now}))
    assert hookd(site, "reconcile", app).startswith(f"{app}: queued: ")
    assert ending(site, decided(site, app)[0]).status is Status.SUCCEEDED
    assert answers(site, app) == {"thawed"}


@pytest.mark.threat(37)
def test_unhealthy_service_is_restarted_once(site: Installation) -> None:
    app = "sick"
    site.ship(app, app_files("one"))
    good = site.ship(app, app_files("two"))
    # The app's database is gone.
    (site.root(app) / "releases" / str(good.release) / "wsgi.py").write_text("raise RuntimeError('no database')\n")
    site.circus("start", f"{app}-blue")
    site.circus("stop", f"{app}-green")
    record = ending(site, reconcile_app(site, app))
    assert record.status is Status.FAILED, record
    assert f"{app}-green does not run; it is unhealthy after a restart" in str(record.cause)
    assert site.status(app).healthy is False
    site.circus("stop", f"{app}-green")
    assert site.circus("status", f"{app}-blue") == "active", "the other colour still answers"
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)


def test_every_keeps_reconciling(site: Installation) -> None:
    app = "one"
    site.change_app(app, reconcile={"every": 1})
    ship_first(site, app)
    log = site.directory / "reconcile.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "1", app), log, site.environment):
        site.repositories[app].commit_and_push(app_files("polled"))
        wait_for(lambda: site.serving(app) == "polled", 60, what="the missed push")
    assert [one.trigger for one in site.records.history(app, 1)] == [Trigger.RECONCILE]
