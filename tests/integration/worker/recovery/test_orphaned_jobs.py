"""Running deployments without a process: orphaned jobs and forged records."""

import time
from datetime import UTC, datetime

import pytest
from redis import Redis

from hookd.model.deployment import Status, Trigger, advance
from tests.support.abandoned import (
    ENDING_SECONDS,
    assert_recovered,
    forge_running,
    leave_started_job,
    maintain,
    start,
)
from tests.support.hanging import ask
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of
from worker.recovery.recover import Recovery


def test_orphaned_job_blocks_for_seconds_only(hookd: Installation, client: Redis) -> None:
    ended = ask(hookd)
    for status in (Status.RUNNING, Status.SUCCEEDED):
        hookd.records.change(ended, lambda old, status=status: advance(old, status, datetime.now(UTC)))  # type: ignore[misc]
    leave_started_job(client, ended)
    waits = ask(hookd)
    assert status_of(client, waits) == "rate_limited"
    start(hookd, client, "hookd-1")
    wait_for(lambda: hookd.records.get(waits).status is Status.RUNNING, ENDING_SECONDS, what="the next deployment")
    assert (hookd.records.get(ended).status, status_of(client, ended)) == (Status.SUCCEEDED, "failed")
    assert len(hookd.records.history("shop", 9)) == 2, "nothing is to be settled"


def test_half_started_job_is_retried(hookd: Installation, client: Redis) -> None:
    abandoned = ask(hookd)
    leave_started_job(client, abandoned)
    start(hookd, client, "hookd-1")
    assert_recovered(hookd, client, abandoned)


def test_remote_starting_job_is_left(hookd: Installation, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.recovery.lost_jobs._TAKEN_SECONDS", 0)
    begun = ask(hookd)
    leave_started_job(client, begun)
    client.hset("rq:worker:hookd-0", mapping={"hostname": "elsewhere", "pid": "1", "birth": "2026-01-01T00:00:00Z"})
    here = ask(hookd, "blog")
    leave_started_job(client, here)
    client.hset(f"rq:job:{here}", "worker_name", "hookd-9")
    maintain(client)
    assert [status_of(client, one) for one in (begun, here)] == ["started", "failed"]
    assert hookd.records.get(begun).status is Status.QUEUED


@pytest.mark.threat(46)
def test_forged_running_record_is_ended(hookd: Installation, client: Redis) -> None:
    forged = forge_running(client)
    maintain(client)
    record = hookd.records.get(forged)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    assert {one.trigger for one in hookd.records.history("shop", 9)} == {Trigger.PUSH, Trigger.RECONCILE}


@pytest.mark.threat(46)
def test_remote_running_job_is_left(hookd: Installation, client: Redis) -> None:
    elsewhere, here = forge_running(client, 1), forge_running(client, 2)
    client.hset(f"rq:job:{elsewhere}", "status", "started")
    client.zadd("rq:wip:hookd", {f"{elsewhere}:0a1b2c": time.time() + 600})
    maintain(client)
    assert hookd.records.get(here).status is Status.FAILED
    assert hookd.records.get(elsewhere).status is Status.RUNNING


@pytest.mark.threat(46)
def test_each_app_has_its_turn(hookd: Installation, client: Redis) -> None:
    text = (hookd.directory / "apps" / "shop.toml").read_text()
    for number in range(30):
        (hookd.directory / "apps" / f"app-{number}.toml").write_text(text.replace("shop", f"app-{number}"))
    forged = [forge_running(client, app=f"app-{number}") for number in (0, 29)]
    recovery = Recovery()
    for _ in range(2):
        recovery.recover_abandoned(client)
    assert {hookd.records.get(one).status for one in forged} == {Status.FAILED}
