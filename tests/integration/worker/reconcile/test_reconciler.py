"""The decisions and the status of the reconciler, with a real branch, journal and Redis, without worker and services.

test_reconcile.py has the deployments and repairs that follow.
"""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hookd.model.decision import Lag, Verdict
from hookd.model.deployment import Deployment, Status, Trigger, advance
from hookd.model.redis_keys import decisions_key, polled_key, waiting_key
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.published import publish_status
from tests.support import journals
from tests.support.deployments import ask, end
from tests.support.installation import Installation, app_files
from tests.support.processes import python
from tests.support.reconciling import decided, reconcile_app, run_reconciler
from worker.reconcile import reconciler
from worker.reconcile.reconciler import Reconciler
from worker.release.git import read_head
from worker.release.git_mirror import GitMirror

APPS = ("still", "pinned", "bad", "away", "beside", "virgin", "off", "full", "idle", "quick", "forth")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Apps with blue-green, whose journals name no colour yet, so that no service is inspected."""
    with Installation(tmp_path_factory.mktemp("site")) as installation:
        for app in APPS:
            installation.add_app(app, handover="blue-green")
        installation.start_redis()
        yield installation


def journal(site: Installation, app: str) -> Path:
    return site.config.settings.journal_path(app)


def deployed(site: Installation, app: str, version: str = "one") -> str:
    """Write a deployment of a new commit into the journal."""
    return journals.deployed(journal(site, app), site.repositories[app].commit_and_push(app_files(version)))


def fetched(site: Installation, app: str) -> None:
    """Fetch the branch into the app's mirror."""
    found = site.config.catalogue.get(app)
    assert found is not None
    GitMirror(found, site.config.settings, lambda _: None).fetch_head()


def behind(site: Installation, app: str) -> Lag:
    found = site.status(app).lag
    assert found is not None
    return found


@pytest.mark.threat(43)
def test_pinned_app_stays(site: Installation) -> None:
    app = "pinned"
    deployed(site, app, "one")
    deployed(site, app, "two")
    fetched(site, app)
    journals.gone_back(journal(site, app))
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.PINNED, None)
    assert (behind(site, app).commits, behind(site, app).verdict) == (1, Verdict.PINNED)
    site.repositories[app].commit_and_push(app_files("three"))
    assert reconcile_app(site, app).verdict is Verdict.QUEUED


def failed(site: Installation, app: str, commit: str) -> Deployment:
    """Record a failed deployment whose commit is not at fault."""
    records = site.records
    one = records.request(DeploymentRequest(app=app, trigger=Trigger.PUSH, seconds=60)).deployment
    records.change(one, lambda old: advance(old, Status.RUNNING, datetime.now(UTC)))
    records.change(one, lambda old: old.model_copy(update={"commit": commit}))
    return records.change(one, lambda old: advance(old, Status.FAILED, datetime.now(UTC), cause="no index answers"))


@pytest.mark.threat(33)
def test_failed_build_has_a_backoff(site: Installation) -> None:
    app = "bad"
    deployed(site, app)
    failed(site, app, site.repositories[app].commit_and_push(app_files("two")))
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)
    assert "the next try is at" in decision.why
    assert "the last try failed: no index answers" in decision.why
    site.repositories[app].commit_and_push(app_files("three"))
    assert reconcile_app(site, app).verdict is Verdict.QUEUED, "a newer commit need not wait"


@pytest.mark.threat(20, 40)
def test_unreachable_host_harms_no_other_app(site: Installation) -> None:
    deployed(site, "away")
    site.change_app("away", repository="http://127.0.0.1:9/none.git")
    deployed(site, "beside")
    head = site.repositories["beside"].commit_and_push(app_files("two"))
    done = run_reconciler(site, "--now", "away", "beside")
    assert done.returncode == 0, done.stderr
    decision = decided(site, "away")[0]
    assert (decision.verdict, decision.deployment) == (Verdict.UNREACHABLE, None)
    said = behind(site, "away").sentence(datetime.now(UTC))
    assert re.match(r"head not known for \d+ s, because http://127\.0\.0\.1:9/none\.git", said)
    decision = decided(site, "beside")[0]
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    assert decision.deployment is not None
    assert site.records.get(decision.deployment).trigger is Trigger.RECONCILE


def test_first_deployment_is_manual(site: Installation) -> None:
    site.repositories["virgin"].commit_and_push(app_files("one"))
    site.change_app("off", reconcile={"every": 0})
    assert run_reconciler(site, "virgin", "off").returncode == 0
    assert decided(site, "virgin")[0].verdict is Verdict.WAITING
    assert site.records.history("virgin", 1) == []
    exists = site.records.connection.exists
    assert (exists(polled_key("virgin")), exists(polled_key("off"))) == (1, 0)


def test_only_due_apps_are_polled(site: Installation) -> None:
    app, redis = "still", site.records.connection
    deployed(site, app)
    assert run_reconciler(site, "--now", app).returncode == 0
    before = redis.hgetall(polled_key(app))
    assert run_reconciler(site, app).returncode == 0
    assert redis.hgetall(polled_key(app)) == before
    redis.hset(polled_key(app), "run_id", "another")
    assert run_reconciler(site, app).returncode == 0
    assert redis.hget(polled_key(app), "run_id") == before[b"run_id"]
    redis.hdel(polled_key(app), "at")
    assert run_reconciler(site, app).returncode == 0
    assert redis.hexists(polled_key(app), "at")


@pytest.mark.threat(4)
def test_equal_payloads_deploy_the_head(site: Installation) -> None:
    """A forced push back and forth can send the payload of an earlier push."""
    app = "forth"
    deployed(site, app)
    assert run_reconciler(site, "--now", app).returncode == 0
    first = ask(site.records, app=app, push="same")
    end(site.records, first.deployment, Status.SUCCEEDED)
    head = site.repositories[app].commit_and_push(app_files("two"))
    assert run_reconciler(site, app).returncode == 0
    assert decided(site, app)[0].verdict is Verdict.UNCHANGED, "the next poll is minutes away"
    assert ask(site.records, app=app, push="same").verdict is Verdict.DUPLICATE
    assert run_reconciler(site, app).returncode == 0
    assert (decided(site, app)[0].verdict, decided(site, app)[0].head) == (Verdict.QUEUED, head)


@pytest.mark.threat(40)
def test_broken_file_of_another_app(site: Installation) -> None:
    file = site.directory / "apps" / "virgin.toml"
    right = file.read_text()
    site.records.connection.delete(polled_key("still"))
    file.write_text("[broken")
    done = run_reconciler(site, "--now", "still")
    file.write_text(right)
    assert done.returncode == 0
    assert "an app is left out" in done.stderr
    assert site.records.connection.exists(polled_key("still"))


def test_unreachable_redis_is_logged(site: Installation, tmp_path: Path) -> None:
    config = tmp_path / "hookd.toml"
    config.write_text(site.config_path.read_text().replace(site.redis_url, f"unix://{tmp_path}/redis.sock"))
    hasty = "from worker.reconcile import __main__ as program; program._REDIS_SECONDS = 0.6; exit(program.main([]))"
    done = subprocess.run(
        python("-c", hasty),
        env={**site.environment, "HOOKD_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Redis cannot be used" in done.stderr


@pytest.mark.threat(82)
def test_unrecorded_decision_is_no_failure(site: Installation) -> None:
    app, last = "full", "18446744073709551615-18446744073709551615"
    site.repositories[app].commit_and_push(app_files("one"))
    site.records.connection.xadd(decisions_key(app), {"decision": "{}"}, id=last)
    done = run_reconciler(site, "--now", app)
    assert (done.returncode, "decision not recorded" in done.stderr) == (0, True), done.stderr
    assert site.records.connection.exists(polled_key(app))


def pending(site: Installation, app: str, ago: timedelta) -> Deployment:
    """Request a deployment that no worker takes."""
    request = DeploymentRequest(app=app, trigger=Trigger.PUSH, seconds=60)
    return site.records.get(site.records.request(request, now=datetime.now(UTC) - ago).deployment)


@pytest.mark.parametrize(("ago", "done"), [(timedelta(seconds=20), False), (timedelta(hours=1), True)])
def test_waiting_push_is_a_lag(site: Installation, ago: timedelta, done: bool) -> None:
    """The app is polled again soon, because its deployment may fail, but not for ever."""
    app = "idle"
    deployed(site, app)
    waits = pending(site, app, ago)
    site.repositories[app].commit_and_push(app_files("two"))
    found = site.config.catalogue.get(app)
    assert found is not None
    before = decided(site, app)
    site.records.connection.delete(polled_key(app))
    Reconciler(site.config, site.records).reconcile(found)
    assert site.records.connection.exists(polled_key(app)) == done
    late = behind(site, app)
    assert late.verdict is Verdict.QUEUED
    assert late.why == f"{waits.id}, requested at {waits.created_at:%Y-%m-%d %H:%M} UTC, waits for a worker"
    assert decided(site, app) == before, "what was asked for before is no decision of this look"
    site.records.connection.delete(waiting_key(app))


def test_newer_status_is_not_overwritten(site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git host may take 20 seconds to answer. Meanwhile a deployment can quarantine the head."""
    app = "quick"
    deployed(site, app, "one")
    pending(site, app, timedelta(0))
    lag = Lag(commits=1, since=datetime.now(UTC), verdict=Verdict.QUARANTINED, why="it was found bad")

    def slow(*arguments: Any, **more: Any) -> str:
        head = read_head(*arguments, **more)
        journals.found_bad(journal(site, app), head)
        publish_status(site.records.connection, site.status(app).model_copy(update={"lag": lag}))
        return head

    monkeypatch.setattr(reconciler, "read_head", slow)
    site.repositories[app].commit_and_push(app_files("two"))
    found = site.config.catalogue.get(app)
    assert found is not None
    Reconciler(site.config, site.records).reconcile(found)
    assert behind(site, app) == lag
    assert [bad.cause for bad in site.status(app).quarantined] == ["it hangs"]
