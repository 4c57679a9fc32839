"""Nothing is lost: a push that nobody told of is deployed, and what runs is brought to what should run."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hookd.contract.decision import Decision, Verdict
from hookd.contract.deployment import Deployment, Status, Trigger
from hookd.contract.freeze import Freeze
from hookd.contract.queue import asked_key
from hookd.store import freezes
from hookd.store.decisions import newest
from tests.support.installation import Installation, app_files
from tests.support.processes import python, running, wait_for
from tests.support.visitors import visitors

ONE = ("one-missed", "one-moved", "one-still", "one-flush", "one-older", "one-back")
TWO = ("two-missed", "two-second", "two-wrong", "two-still", "two-stopped", "two-back")
APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart"} for name in ONE},
    **{
        name: {"handover": "blue-green"}
        for name in (*TWO, "frozen", "bad", "pinned", "away", "beside", "off", "virgin", "sick", "loop")
    },
}


def look(site: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Look at apps as the timer does."""
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
    """Look at one app now, and return what was decided last."""
    done = look(site, "--now", app)
    assert done.returncode == 0, done.stderr
    return decided(site, app)[0]


def decided(site: Installation, app: str) -> list[Decision]:
    return [one for one in newest(site.records.connection, app, 100) if one.source == "reconcile"]


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
    """What many visitors at once are answered."""
    with visitors(site.ports[app], 4) as crowd:
        crowd.wait_for_more(100)
    assert crowd.failures == []
    return crowd.seen


def move(link: Path, release: str | None) -> None:
    """Do by hand what only hookd should do."""
    link.unlink()
    link.symlink_to(f"releases/{release}")


@pytest.mark.parametrize("app", ["one-missed", "two-missed"])
def test_a_push_that_nobody_told_of_is_deployed(site: Installation, app: str) -> None:
    site.ship(app, app_files("one"))
    head = site.repositories[app].commit_and_push(app_files("two"))
    decision = look_at(site, app)
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    record = ending(site, decision)
    assert (record.status, record.trigger, record.commit) == (Status.SUCCEEDED, Trigger.RECONCILE, head)
    assert answers(site, app) == {"two"}
    assert site.records.view(app).behind is None


def test_an_app_that_is_right_is_left_alone_and_that_is_noted_once(site: Installation) -> None:
    for app in ("one-still", "two-still"):
        site.ship(app, app_files("one"))
        serving = site.root(app) / "current"
        before = circus(site, "list", app if app.startswith("one") else f"{app}-blue")
        for _ in range(3):
            assert look_at(site, app).verdict is Verdict.UNCHANGED
        assert len(decided(site, app)) == 1
        assert decided(site, app)[0].running is not None
        assert serving.resolve().name in str(decided(site, app)[0].running)
        assert len(site.records.history(app, 10)) == 1
        assert circus(site, "list", app if app.startswith("one") else f"{app}-blue") == before


def test_a_current_that_somebody_moved_leads_back_and_the_service_goes_on(site: Installation) -> None:
    app = "one-moved"
    old = site.ship(app, app_files("one"))
    new = site.ship(app, app_files("two"))
    before = circus(site, "list", app)
    move(site.root(app) / "current", old.release)
    record = ending(site, look_at(site, app))
    assert (record.status, record.cause) == (Status.SUCCEEDED, f"mended: current does not lead to {new.release}")
    assert site.current(app).name == new.release
    assert circus(site, "list", app) == before
    assert look_at(site, app).verdict is Verdict.UNCHANGED


def test_a_service_that_runs_an_older_release_is_started_again(site: Installation) -> None:
    app = "one-older"
    old = site.ship(app, app_files("one"))
    new = site.ship(app, app_files("two"))
    move(site.root(app) / "current", old.release)
    circus(site, "restart", app)
    wait_for(lambda: site.serving(app) == "one", what="the old release")
    record = ending(site, look_at(site, app))
    assert record.status is Status.SUCCEEDED
    assert f"{app} runs another release than {new.release}" in str(record.cause)
    assert answers(site, app) == {"two"}


def test_a_second_colour_that_runs_is_stopped(site: Installation) -> None:
    app = "two-second"
    site.ship(app, app_files("one"))
    site.ship(app, app_files("two"))
    before = circus(site, "list", f"{app}-green")
    circus(site, "start", f"{app}-blue")
    record = ending(site, look_at(site, app))
    assert (record.status, record.cause) == (Status.SUCCEEDED, f"mended: {app}-blue runs, too")
    assert circus(site, "status", f"{app}-blue") == "stopped"
    assert circus(site, "list", f"{app}-green") == before


def test_the_right_colour_takes_over_from_the_wrong_one(site: Installation) -> None:
    app = "two-wrong"
    old = site.ship(app, app_files("one"))
    site.ship(app, app_files("two"))
    move(site.root(app) / "blue", old.release)
    circus(site, "start", f"{app}-blue")
    circus(site, "stop", f"{app}-green")
    with visitors(site.ports[app], 4) as crowd:
        record = ending(site, look_at(site, app))
        wait_for(lambda: "two" in crowd.seen, what="the right release")
    assert record.status is Status.SUCCEEDED
    assert crowd.failures == []
    assert answers(site, app) == {"two"}


def test_a_service_that_a_person_stopped_stays_stopped_and_that_is_said(site: Installation) -> None:
    app = "two-stopped"
    site.ship(app, app_files("one"))
    site.repositories[app].commit_and_push(app_files("newer"))
    circus(site, "stop", f"{app}-blue")
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.STOPPED, None)
    behind = site.records.view(app).behind
    assert behind is not None
    assert (behind.verdict, behind.commits) == (Verdict.STOPPED, None)
    assert circus(site, "status", f"{app}-blue") == "stopped"


def test_what_a_flush_took_from_redis_comes_back_from_disk(site: Installation) -> None:
    app = "one-flush"
    good = site.ship(app, app_files("one"))
    bad = site.ship(app, app_files("bad", "500 Oops"))
    assert bad.status is Status.ROLLED_BACK
    before = site.records.view(app)
    site.records.connection.delete(*site.records.connection.keys(f"hookd:*{app}*"))
    assert site.records.view(app).deployed_commit is None
    decision = look_at(site, app)
    view = site.records.view(app)
    assert decision.verdict is Verdict.QUARANTINED
    assert (view.deployed_commit, view.release, view.quarantined) == (good.commit, good.release, before.quarantined)
    assert view.head == bad.commit
    assert view.behind is not None
    assert (view.behind.verdict, view.behind.commits) == (Verdict.QUARANTINED, 1)
    since = view.behind.since
    look_at(site, app)
    later = site.records.view(app).behind
    assert later is not None
    assert later.since == since


def test_a_frozen_app_is_left_as_it_is_and_says_why(site: Installation) -> None:
    app = "frozen"
    site.ship(app, app_files("one"))
    site.repositories[app].commit_and_push(app_files("two"))
    freezes.freeze(site.config.frozen, app, Freeze(reason="the fair", since=datetime.now(UTC)))
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.FROZEN, None)
    assert "the fair" in decision.why
    said = hookd(site, "status", app)
    assert "behind head for 0 min, because frozen since" in said
    freezes.thaw(site.config.frozen, app)
    assert ending(site, look_at(site, app)).status is Status.SUCCEEDED


def test_what_a_person_pinned_stays(site: Installation) -> None:
    app = "pinned"
    site.ship(app, app_files("one"))
    site.ship(app, app_files("two"))
    site.deploy(app, Trigger.ROLLBACK)
    assert look_at(site, app).verdict is Verdict.PINNED
    assert answers(site, app) == {"one"}
    behind = site.records.view(app).behind
    assert behind is not None
    assert (behind.commits, behind.verdict) == (1, Verdict.PINNED)
    site.repositories[app].commit_and_push(app_files("three"))
    assert hookd(site, "reconcile", app) == ""
    assert ending(site, decided(site, app)[0]).status is Status.SUCCEEDED
    assert answers(site, app) == {"three"}


def test_a_build_that_failed_through_no_fault_of_its_own_is_tried_again_with_growing_pauses(site: Installation) -> None:
    app = "bad"
    site.ship(app, app_files("one"))
    site.change_app(app, dependencies={"environment": {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(site.directory / "no")}})
    failed = site.ship(app, app_files("two", requirements="gunicorn==27.0.1\npackaging\n"))
    assert failed.status is Status.FAILED
    assert not site.records.view(app).quarantined
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)
    assert "the next try is at" in decision.why
    site.repositories[app].commit_and_push(app_files("three"))
    assert look_at(site, app).verdict is Verdict.QUEUED, "a newer commit need not wait"


def test_a_git_host_that_does_not_answer_is_said_and_holds_no_other_up(site: Installation) -> None:
    site.ship("away", app_files("one"))
    site.change_app("away", repository="http://127.0.0.1:9/none.git")
    site.ship("beside", app_files("one"))
    head = site.repositories["beside"].commit_and_push(app_files("two"))
    done = look(site, "--now", "away", "beside")
    assert done.returncode == 0, done.stderr
    decision = decided(site, "away")[0]
    assert (decision.verdict, decision.deployment) == (Verdict.UNREACHABLE, None)
    behind = site.records.view("away").behind
    assert behind is not None
    assert behind.said(datetime.now(UTC)).startswith("head not known for 0 min, because http://127.0.0.1:9/none.git")
    assert ending(site, decided(site, "beside")[0]).commit == head


def test_a_service_that_does_not_get_well_ends_as_failed_and_is_not_started_in_a_circle(site: Installation) -> None:
    app = "sick"
    site.ship(app, app_files("one"))
    good = site.ship(app, app_files("two"))
    # What the app needs is gone: its data, say, or its database.
    (site.root(app) / "releases" / str(good.release) / "wsgi.py").write_text("raise RuntimeError('no database')\n")
    circus(site, "start", f"{app}-blue")
    circus(site, "stop", f"{app}-green")
    record = ending(site, look_at(site, app))
    assert record.status is Status.FAILED, record
    assert f"{app}-green does not run; it was started again and is not well" in str(record.cause)
    assert site.records.view(app).healthy is False
    circus(site, "stop", f"{app}-green")
    assert circus(site, "status", f"{app}-blue") == "active", "somebody still answers"
    decision = look_at(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)


def test_the_first_deployment_is_a_person_s_and_who_is_switched_off_is_never_looked_at(site: Installation) -> None:
    site.repositories["virgin"].commit_and_push(app_files("one"))
    assert look_at(site, "virgin").verdict is Verdict.WAITING
    assert site.records.history("virgin", 1) == []
    site.change_app("off", reconcile={"every": 0})
    site.records.connection.delete(asked_key("off"))
    assert look(site).returncode == 0
    assert not site.records.connection.exists(asked_key("off"))


def test_without_a_timer_it_stays_and_looks_again(site: Installation) -> None:
    app = "loop"
    site.change_app(app, reconcile={"every": 1})
    site.ship(app, app_files("one"))
    log = site.directory / "reconcile.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "1", app), log, site.environment):
        site.repositories[app].commit_and_push(app_files("two"))
        wait_for(lambda: site.serving(app) == "two", 60, what="the missed push")
    assert [one.trigger for one in site.records.history(app, 1)] == [Trigger.RECONCILE]


def test_when_a_machine_without_systemd_starts_what_served_serves_again(site: Installation) -> None:
    """circus starts no app by itself, as only the journal knows which colour serves."""
    for app in ("one-back", "two-back"):
        site.ship(app, app_files("one"))
        site.ship(app, app_files("two"))
    subprocess.run(python("-m", "circus.circusctl", "--endpoint", site.endpoint, "quit", "--waiting"), check=False)
    wait_for(lambda: not site._listens(site.ports["one-back"]), what="the end of circus")
    site.start_manager()
    wait_for(lambda: circus(site, "status", "one-back") == "stopped", what="circus")
    log = site.directory / "boot.log"
    with running(python("-P", "-m", "worker.reconcile", "--every", "60", "one-back"), log, site.environment):
        wait_for(lambda: circus(site, "status", "two-back-green") == "active", 60, what="the colour that served")
    for app in ("one-back", "two-back"):
        assert answers(site, app) == {"two"}
    assert circus(site, "status", "two-back-blue") == "stopped"


def test_an_app_that_is_not_due_is_not_asked_and_one_that_redis_forgot_is(site: Installation) -> None:
    app = "one-still"
    look_at(site, app)
    before = site.records.connection.hgetall(asked_key(app))
    assert look(site, app).returncode == 0
    assert site.records.connection.hgetall(asked_key(app)) == before
    site.records.connection.hset(asked_key(app), "life", "another")
    assert look(site, app).returncode == 0
    assert site.records.connection.hget(asked_key(app), "life") == before[b"life"]
    site.records.connection.delete(asked_key(app))
    assert look(site, app).returncode == 0
    assert site.records.connection.exists(asked_key(app))


def test_another_app_s_broken_file_holds_nobody_up(site: Installation) -> None:
    file = site.directory / "apps" / "virgin.toml"
    right = file.read_text()
    file.write_text("[broken")
    done = look(site, "--now", "one-still")
    file.write_text(right)
    assert done.returncode == 0
    assert "an app is left out" in done.stderr


def test_a_redis_that_is_away_is_said(site: Installation, tmp_path: Path) -> None:
    config = tmp_path / "hookd.toml"
    config.write_text(site.config_path.read_text().replace(site.redis_url, f"unix://{tmp_path}/redis.sock"))
    done = subprocess.run(
        python("-P", "-m", "worker.reconcile"),
        env={**site.environment, "HOOKD_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Redis cannot be used" in done.stderr
