"""The reconciler deploys missed pushes and repairs drift."""

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from hookd import freezes
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.eligibility import Freeze
from hookd.model.redis_keys import decisions_key, history_key
from hookd.queue.app_status import AppStatusStore
from hookd.queue.decision_log import read_newest
from tests.support.installation import Installation, app_files
from tests.support.processes import python, running, wait_for
from tests.support.visitors import visitors
from worker.reconcile.reconciler import Reconciler

ONE = ("one", "missed", "flush", "loop", "spoilt")
TWO = ("two", "frozen", "sick", "stopped")
APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart"} for name in ONE},
    **{name: {"handover": "blue-green"} for name in TWO},
}
# The two deployments of each app.
Shipped = Mapping[str, tuple[Deployment, Deployment]]
# Each is deployed twice, changed by hand and repaired by each test.
HANDLED = ("one", "two")


def look(site: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the reconciler as the timer does."""
    done = subprocess.run(
        python("-P", "-m", "worker.reconcile", *arguments),
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def look_at(site: Installation, app: str) -> Decision:
    """Reconcile one app in this process, and return the last decision."""
    found = site.config.catalogue.get(app)
    assert found is not None
    with patch.dict(os.environ, HOOKD_CONFIG=str(site.config_path)):
        Reconciler(site.config, site.records).reconcile(found)
    return decided(site, app)[0]


def decided(site: Installation, app: str) -> list[Decision]:
    return [one for one in read_newest(site.records.connection, app, 100) if one.source == "reconcile"]


def ending(site: Installation, decision: Decision) -> Deployment:
    """The ending of the deployment that a look asked for."""
    assert decision.deployment is not None, decision
    return site.wait_for_ending(decision.deployment)


def hookd(site: Installation, *arguments: str) -> str:
    command = python("-m", "hookd.cli", *arguments)
    return subprocess.run(command, env=site.environment, check=True, capture_output=True, text=True).stdout


def circus(site: Installation, verb: str, name: str) -> str:
    waiting = [] if verb in ("status", "list") else ["--waiting"]
    command = python("-m", "circus.circusctl", "--endpoint", site.endpoint, verb, *waiting, name)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def answers(site: Installation, app: str) -> set[str]:
    """Return the answers to many visitors at once."""
    with visitors(site.ports[app], 2) as crowd:
        crowd.wait_for_more(30)
    assert crowd.failures == []
    return crowd.pages


def move(link: Path, release: str | None) -> None:
    """Move a link by hand."""
    link.unlink()
    link.symlink_to(f"releases/{release}")


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


@pytest.mark.threat(5)
@pytest.mark.promise(11)
def test_missed_push_is_deployed(site: Installation) -> None:
    app = "missed"
    site.ship(app, app_files("one"))
    head = site.repositories[app].commit_and_push(app_files("two"))
    done = look(site, "--now", app)
    assert done.returncode == 0, done.stderr
    decision = decided(site, app)[0]
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    record = ending(site, decision)
    assert (record.status, record.trigger, record.commit) == (Status.SUCCEEDED, Trigger.RECONCILE, head)
    assert answers(site, app) == {"two"}
    assert AppStatusStore(site.records.connection).read(app).lag is None


@pytest.mark.threat(49)
def test_wrong_typed_keys_are_deleted(site: Installation) -> None:
    """A compromised receiver could write them, and they would block each request."""
    site.ship("spoilt", app_files("one"))
    client = site.records.connection
    for key in ("rq:rl:app-spoilt:allowed", "hookd:history:spoilt"):
        client.delete(key)
        client.hset(key, "no", "set")
        site.repositories["spoilt"].commit_and_push(app_files(key))
        assert ending(site, look_at(site, "spoilt")).status is Status.SUCCEEDED
        assert answers(site, "spoilt") == {key}


@pytest.mark.threat(37)
def test_app_without_drift_is_left_alone(site: Installation, shipped: Shipped) -> None:
    for app, watcher in (("one", "one"), ("two", "two-green")):
        before = circus(site, "list", watcher)
        for _ in range(3):
            assert look_at(site, app).verdict is Verdict.UNCHANGED
        assert len(decided(site, app)) == 1
        assert decided(site, app)[0].running is not None
        assert site.current(app).name in str(decided(site, app)[0].running)
        assert site.records.history(app, 10) == []
        assert circus(site, "list", watcher) == before


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_moved_current_link_is_repaired(site: Installation, shipped: Shipped) -> None:
    app, (old, new) = "one", shipped["one"]
    before = circus(site, "list", app)
    move(site.root(app) / "current", old.release)
    record = ending(site, look_at(site, app))
    assert (record.status, record.cause) == (Status.SUCCEEDED, f"repaired: current does not lead to {new.release}")
    assert site.current(app).name == new.release
    assert circus(site, "list", app) == before
    assert look_at(site, app).verdict is Verdict.UNCHANGED


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_service_with_an_old_release_is_restarted(site: Installation, shipped: Shipped) -> None:
    app, (old, new) = "one", shipped["one"]
    move(site.root(app) / "current", old.release)
    circus(site, "restart", app)
    wait_for(lambda: site.serving(app) == "one", what="the old release")
    record = ending(site, look_at(site, app))
    assert record.status is Status.SUCCEEDED
    assert f"{app} runs another release than {new.release}" in str(record.cause)
    assert answers(site, app) == {"two"}


@pytest.mark.threat(36)
def test_running_idle_colour_is_stopped(site: Installation, shipped: Shipped) -> None:
    before = circus(site, "list", "two-green")
    circus(site, "start", "two-blue")
    record = ending(site, look_at(site, "two"))
    assert (record.status, record.cause) == (Status.SUCCEEDED, "repaired: two-blue runs, too")
    assert circus(site, "status", "two-blue") == "stopped"
    assert circus(site, "list", "two-green") == before


@pytest.mark.threat(36)
def test_wrong_colour_is_replaced(site: Installation, shipped: Shipped) -> None:
    move(site.root("two") / "blue", shipped["two"][0].release)
    circus(site, "start", "two-blue")
    circus(site, "stop", "two-green")
    with visitors(site.ports["two"], 4) as crowd:
        record = ending(site, look_at(site, "two"))
        wait_for(lambda: "two" in crowd.pages, what="the right release")
    assert record.status is Status.SUCCEEDED
    assert crowd.failures == []
    assert answers(site, "two") == {"two"}


@pytest.mark.threat(37)
def test_stopped_service_stays_stopped(site: Installation) -> None:
    app = "stopped"
    site.ship(app, app_files("one"))
    site.repositories[app].commit_and_push(app_files("newer"))
    circus(site, "stop", f"{app}-blue")
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.STOPPED, None)
    behind = AppStatusStore(site.records.connection).read(app).lag
    assert behind is not None
    assert (behind.verdict, behind.commits) == (Verdict.STOPPED, None)
    assert circus(site, "status", f"{app}-blue") == "stopped"
    start = f"circusctl --endpoint {site.endpoint} start {app}-blue"
    assert decision.why == f"{app} is stopped: a person did that; next: {start}"
    assert hookd(site, "reconcile", app) == f"{app}: stopped: {decision.why}\n", "it is said each time"
    said = hookd(site, "status", app)
    assert ("healthy: no" in said, f"\n  {app} is stopped\n" in said) == (True, True), said
    assert site.push_and_wait(app).status is Status.SUCCEEDED
    view = AppStatusStore(site.records.connection).read(app)
    assert (view.drift, view.healthy, view.lag) == (None, True, None)


@pytest.mark.threat(14)
@pytest.mark.promise(15)
def test_status_comes_back_after_a_flush(site: Installation) -> None:
    app = "flush"
    good = site.ship(app, app_files("one"))
    bad = site.ship(app, app_files("bad", "500 Oops"))
    assert bad.status is Status.ROLLED_BACK
    before = AppStatusStore(site.records.connection).read(app)
    assert before.lag is not None, "that is said at once, and not by the next look"
    assert (before.lag.verdict, before.lag.commits) == (Verdict.QUARANTINED, 1)
    site.records.connection.delete(*site.records.connection.keys(f"hookd:*{app}*"))
    assert AppStatusStore(site.records.connection).read(app).deployed_commit is None
    decision = look_at(site, app)
    view = AppStatusStore(site.records.connection).read(app)
    assert decision.verdict is Verdict.QUARANTINED
    assert (view.deployed_commit, view.release, view.quarantined) == (good.commit, good.release, before.quarantined)
    assert view.head == bad.commit
    assert view.lag is not None
    assert (view.lag.verdict, view.lag.commits) == (Verdict.QUARANTINED, 1)
    since = view.lag.since
    look_at(site, app)
    later = AppStatusStore(site.records.connection).read(app).lag
    assert later is not None
    assert later.since == since


@pytest.mark.promise(29)
def test_frozen_app_waits_for_the_end_of_its_freeze(site: Installation) -> None:
    app, now = "frozen", datetime.now(UTC)
    site.ship(app, app_files("one"))
    site.repositories[app].commit_and_push(app_files("two"))
    freeze = Freeze(reason="the fair", since=now, until=now + timedelta(hours=1))
    freezes.freeze(site.config.frozen, app, freeze)
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.FROZEN, None)
    assert "the fair" in decision.why
    said = hookd(site, "status", app)
    assert "  behind head for 0 min\n" in said
    assert said.count("the fair") == 1
    freezes.freeze(site.config.frozen, app, freeze.model_copy(update={"until": now}))
    assert hookd(site, "reconcile", app).startswith(f"{app}: queued: ")
    assert ending(site, decided(site, app)[0]).status is Status.SUCCEEDED
    assert answers(site, app) == {"two"}


@pytest.mark.threat(37)
def test_unhealthy_service_is_restarted_once(site: Installation) -> None:
    app = "sick"
    site.ship(app, app_files("one"))
    good = site.ship(app, app_files("two"))
    # The app's database is gone.
    (site.root(app) / "releases" / str(good.release) / "wsgi.py").write_text("raise RuntimeError('no database')\n")
    circus(site, "start", f"{app}-blue")
    circus(site, "stop", f"{app}-green")
    record = ending(site, look_at(site, app))
    assert record.status is Status.FAILED, record
    assert f"{app}-green does not run; it is unhealthy after a restart" in str(record.cause)
    assert AppStatusStore(site.records.connection).read(app).healthy is False
    circus(site, "stop", f"{app}-green")
    assert circus(site, "status", f"{app}-blue") == "active", "the other colour still answers"
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)


def test_every_keeps_reconciling(site: Installation) -> None:
    app = "loop"
    site.change_app(app, reconcile={"every": 1})
    site.ship(app, app_files("one"))
    log = site.directory / "reconcile.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "1", app), log, site.environment):
        site.repositories[app].commit_and_push(app_files("two"))
        wait_for(lambda: site.serving(app) == "two", 60, what="the missed push")
    assert [one.trigger for one in site.records.history(app, 1)] == [Trigger.RECONCILE]


def test_apps_start_after_circus(site: Installation, shipped: Shipped) -> None:
    """Only the journal knows the colour that serves, so circus starts no app by itself."""
    subprocess.run(python("-m", "circus.circusctl", "--endpoint", site.endpoint, "quit", "--waiting"), check=False)
    wait_for(lambda: not site._listens(site.ports["one"]), what="the end of circus")
    site.start_manager()
    wait_for(lambda: circus(site, "status", "one") == "stopped", what="circus")
    log = site.directory / "boot.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "60", "one"), log, site.environment):
        wait_for(lambda: circus(site, "status", "two-green") == "active", 60, what="the colour that served")
    for app in ("one", "two"):
        assert answers(site, app) == {"two"}
    assert circus(site, "status", "two-blue") == "stopped"
