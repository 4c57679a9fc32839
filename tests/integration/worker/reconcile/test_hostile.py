"""The reconciler with hostile branches, forged records and a silent git host."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status, Trigger, encode
from tests.support.installation import Installation, app_files
from tests.support.reconciling import decided, ending, reconcile_app, run_reconciler
from worker.reconcile.reconciler import Reconciler

APP = "shop"
HELD = 'while [ -e "$HOOKD_HOLD" ]; do sleep 0.1; done'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("site")) as installation:
        hold = {"environment": {"HOOKD_HOLD": installation.directory / "hold"}, "commands": [["sh", "-c", HELD]]}
        installation.add_app(APP, handover="restart", build=hold)
        installation.start(workers=0)
        yield installation


@pytest.fixture(scope="module", autouse=True)
def worker(site: Installation) -> "Popen[bytes]":
    started: Popen[bytes] = site.start_worker()
    return started


def ship_first(site: Installation) -> None:
    """Deploy the app unless something serves."""
    if not (site.root(APP) / "current").exists():
        assert site.ship(APP, app_files("one")).status is Status.SUCCEEDED


@contextmanager
def stopped(worker: "Popen[bytes]") -> Iterator[None]:
    """Keep the worker from doing anything, as one that is busy elsewhere."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def forge(site: Installation, app: str, **fields: Any) -> str:
    """Forge the newest record of an app, as a compromised receiver could."""
    forged = f"{app}-20990101T000000000-abcdef"
    record = Deployment(id=forged, app=app, trigger=Trigger.PUSH, created_at=datetime.now(UTC), **fields)
    site.records.connection.hset(redis_keys.record_key(forged), "record", encode(record))
    site.records.connection.zadd(redis_keys.history_key(app), {forged: 4e9})
    return forged


@pytest.mark.threat(80)
def test_similar_branch_name_hides_no_push(site: Installation) -> None:
    app, repository = APP, site.repositories[APP]
    ship_first(site)
    repository.push("a/refs/heads/main")
    head = repository.commit_and_push(app_files("two"))
    decision = reconcile_app(site, app)
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    assert ending(site, decision).commit == head
    assert site.serving(app) == "two"


@pytest.mark.threat(57)
def test_forged_running_record_is_ignored(site: Installation, worker: "Popen[bytes]") -> None:
    app = APP
    ship_first(site)
    with stopped(worker):
        forged = forge(site, app, status=Status.RUNNING)
        head = site.repositories[app].commit_and_push(app_files("three"))
        decision = reconcile_app(site, app)
        site.records.connection.zrem(redis_keys.history_key(app), forged)
    assert (decision.verdict, decision.head) == (Verdict.QUEUED, head)
    assert ending(site, decision).status is Status.SUCCEEDED


@pytest.mark.threat(57)
def test_running_deployment_is_left_alone(site: Installation) -> None:
    app = APP
    ship_first(site)
    (site.directory / "hold").touch()
    site.repositories[app].commit_and_push(app_files("four"))
    running = site.send_push(app)["deployment"]
    site.wait_for_step(running, "build")
    before = decided(site, app)
    assert run_reconciler(site, "--now", app).returncode == 0
    (site.directory / "hold").unlink()
    assert decided(site, app) == before
    assert site.wait_for_ending(running).status is Status.SUCCEEDED
    assert site.records.history(app, 1)[0].id == running


@pytest.mark.threat(40)
def test_circuit_breaker_spares_a_third_app(tmp_path: Path) -> None:
    with Installation(tmp_path) as site, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/shop.git"
        for name in ("one", "two", "three"):
            site.add_app(name, repository=url, limits={"git_seconds": 1})
        site.add_app("beside").commit_and_push(app_files("one"))
        site.start_redis()
        reconciler = Reconciler(site.config, site.records)
        for app in site.config.catalogue.apps:
            reconciler.reconcile(app)
        said = [decided(site, name)[0] for name in ("one", "two", "three")]
        assert {one.verdict for one in said} == {Verdict.UNREACHABLE}
        reasons = [one.why for one in said if "is not asked" in one.why]
        assert reasons == [f"{url} is not asked: its host did not answer for two other apps"]
        assert decided(site, "beside")[0].head is not None
