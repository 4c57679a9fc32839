"""Running deployments without a process: orphaned jobs and forged records."""

import time
from datetime import UTC, datetime

import pytest
from redis import Redis

from hookd.model.deployment import Status, Trigger, advance
from tests.support.abandoned import ENDING_SECONDS, assert_recovered, forge_running, leave_started_job, start
from tests.support.hanging import ask
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of


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


def test_remote_starting_job_is_left(hookd: Installation, client: Redis) -> None:
    begun = ask(hookd)
    leave_started_job(client, begun)
    client.hset("rq:worker:hookd-0", mapping={"hostname": "elsewhere", "pid": "1", "birth": "2026-01-01T00:00:00Z"})
    start(hookd, client, "hookd-1")
    for number in range(3):  # Each is ended by a look that would have ended the other one, too.
        hookd.wait_for_ending(forge_running(client, number, "blog"), ENDING_SECONDS)
    assert hookd.records.get(begun).status is Status.QUEUED


@pytest.mark.threat(46)
def test_forged_running_record_is_ended(hookd: Installation, client: Redis) -> None:
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    record = hookd.wait_for_ending(forge_running(client), ENDING_SECONDS)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    wait_for(lambda: len(hookd.records.history("shop", 9)) == 2, what="the deployment that settles it")
    assert {one.trigger for one in hookd.records.history("shop", 9)} == {Trigger.PUSH, Trigger.RECONCILE}


@pytest.mark.threat(46)
def test_remote_running_job_is_left(hookd: Installation, client: Redis) -> None:
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    elsewhere = forge_running(client, 1)
    client.hset(f"rq:job:{elsewhere}", "status", "started")
    client.zadd("rq:wip:hookd", {f"{elsewhere}:0a1b2c": time.time() + 600})
    hookd.wait_for_ending(forge_running(client, 2), ENDING_SECONDS)
    assert hookd.records.get(elsewhere).status is Status.RUNNING


@pytest.mark.threat(46)
def test_each_app_has_its_turn(hookd: Installation, client: Redis) -> None:
    text = (hookd.directory / "apps" / "shop.toml").read_text()
    for number in range(30):
        (hookd.directory / "apps" / f"app-{number}.toml").write_text(text.replace("shop", f"app-{number}"))
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    for forged in [forge_running(client, app=f"app-{number}") for number in (0, 29)]:
        hookd.wait_for_ending(forged, 2 * ENDING_SECONDS)
