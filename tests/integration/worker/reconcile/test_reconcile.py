"""The reconciler deploys missed pushes and respects stopped, frozen and unhealthy apps."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd import freezes
from hookd.model.decision import Freeze, Verdict
from hookd.model.deployment import Status, Trigger
from hookd.model.redis_keys import decisions_key, history_key
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files
from tests.support.processes import python, running, wait_for
from tests.support.reconciling import answers, decided, ending, hookd, look, look_at

APPS: dict[str, dict[str, Any]] = {
    "one": {"handover": "restart"},
    "two": {"handover": "blue-green"},
    "sick": {"handover": "blue-green"},
}


@pytest.fixture(autouse=True)
def history(site: Installation) -> None:
    """Forget the deployments of earlier tests, so that none has a backoff."""
    for app in APPS:
        site.records.connection.delete(history_key(app), decisions_key(app))


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
    ship_first(site, "one")
    client = site.records.connection
    for key in ("rq:rl:app-one:allowed", history_key("one")):
        client.delete(key)
        client.hset(key, "no", "set")
    site.repositories["one"].commit_and_push(app_files("spoilt"))
    assert ending(site, look_at(site, "one")).status is Status.SUCCEEDED
    assert answers(site, "one") == {"spoilt"}


@pytest.mark.threat(37)
def test_stopped_service_stays_stopped(site: Installation) -> None:
    app = "two"
    ship_first(site, app)
    [service] = (f"two-{colour}" for colour in ("blue", "green") if site.circus("status", f"two-{colour}") == "active")
    site.repositories[app].commit_and_push(app_files("newer"))
    site.circus("stop", service)
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.STOPPED, None)
    behind = AppStatusStore(site.records.connection).read(app).lag
    assert behind is not None
    assert (behind.verdict, behind.commits) == (Verdict.STOPPED, None)
    assert site.circus("status", service) == "stopped"
    start = f"circusctl --endpoint {site.endpoint} start {service}"
    assert decision.why == f"{app} is stopped by a person; next: {start}"
    assert hookd(site, "reconcile", app) == f"{app}: stopped: {decision.why}\n", "it is said each time"
    said = hookd(site, "status", app)
    assert (", unhealthy" in said, f"\n  {app} is stopped\n" in said) == (True, True), said
    assert site.push_and_wait(app).status is Status.SUCCEEDED
    view = AppStatusStore(site.records.connection).read(app)
    assert (view.drift, view.healthy, view.lag) == (None, True, None)


@pytest.mark.threat(14)
@pytest.mark.promise(15)
def test_status_comes_back_after_a_flush(site: Installation) -> None:
    app = "one"
    ship_first(site, app)
    good = AppStatusStore(site.records.connection).read(app)
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
    served = good.deployed_commit, good.release, before.quarantined
    assert (view.deployed_commit, view.release, view.quarantined) == served
    assert view.head == bad.commit
    assert view.lag is not None
    assert (view.lag.verdict, view.lag.commits) == (Verdict.QUARANTINED, 1)
    since = view.lag.since
    look_at(site, app)
    later = AppStatusStore(site.records.connection).read(app).lag
    assert later is not None
    assert later.since == since


@pytest.mark.promise(29)
def test_frozen_app_waits(site: Installation) -> None:
    app, now = "two", datetime.now(UTC)
    ship_first(site, app)
    site.repositories[app].commit_and_push(app_files("two"))
    freeze = Freeze(reason="the fair", since=now, until=now + timedelta(hours=1))
    freezes.freeze(site.config.freeze_directory, app, freeze)
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.FROZEN, None)
    assert "the fair" in decision.why
    said = hookd(site, "status", app)
    assert re.search(r"  behind head for \d+ s\n", said)
    assert said.count("the fair") == 1
    freezes.freeze(site.config.freeze_directory, app, freeze.model_copy(update={"until": now}))
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
    site.circus("start", f"{app}-blue")
    site.circus("stop", f"{app}-green")
    record = ending(site, look_at(site, app))
    assert record.status is Status.FAILED, record
    assert f"{app}-green does not run; it is unhealthy after a restart" in str(record.cause)
    assert AppStatusStore(site.records.connection).read(app).healthy is False
    site.circus("stop", f"{app}-green")
    assert site.circus("status", f"{app}-blue") == "active", "the other colour still answers"
    decision = look_at(site, app)
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
