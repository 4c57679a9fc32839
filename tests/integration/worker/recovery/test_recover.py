"""Workers that die: their names, their deployments and their entries in Redis."""

import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from redis import Redis
from rq import Worker

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Trigger, advance
from hookd.model.ids import app_of
from hookd.model.journal import Built, Good, Switched
from hookd.queue import decision_log
from hookd.queue.codec import encode
from hookd.queue.deployments import DeploymentRequest
from tests.support.hanging import ask, cmdline, hanging, wait_until_fetching
from tests.support.installation import Installation
from tests.support.processes import python, running, wait_for
from tests.support.raw_jobs import status_of
from worker.journal import Journal

# The promise: an abandoned deployment has its ending within 20 s.
SOON = 20


@pytest.fixture
def hookd(tmp_path: Path) -> Iterator[Installation]:
    with hanging(tmp_path, "shop", "blog") as installation:
        yield installation


@pytest.fixture
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found


def kill(worker: "Popen[bytes]") -> None:
    worker.kill()
    worker.wait(10)


def start(hookd: Installation, client: Redis, name: str) -> "Popen[bytes]":
    """Start a worker and wait until it is the one that Redis knows by its name."""
    worker: Popen[bytes] = hookd.start_worker(name)
    wait_for(lambda: pid_of(client, name) == worker.pid or worker.poll() is not None, what=name)
    return worker


def pid_of(client: Redis, name: str) -> int:
    raw: Any = client.hget(f"rq:worker:{name}", "pid")
    return int(raw or 0)


def log_of(hookd: Installation) -> str:
    return (hookd.directory / "worker.log").read_text()


# Names


@pytest.mark.threat(48)
def test_worker_replaces_a_killed_one(hookd: Installation, client: Redis) -> None:
    kill(hookd.start_worker("hookd-1"))
    second = start(hookd, client, "hookd-1")
    assert second.poll() is None
    assert "predecessor was dead" in log_of(hookd)


@pytest.mark.threat(48)
def test_living_worker_keeps_its_name(hookd: Installation, client: Redis) -> None:
    first = hookd.start_worker("hookd-1")
    with running(python("-m", "worker", "hookd-1"), hookd.directory / "second.log", hookd.environment) as second:
        assert second.wait(30) == 1
    said = (hookd.directory / "second.log").read_text()
    assert f"not started why=a worker named hookd-1 is at work already (process {first.pid} on " in said
    assert "next=hookd worker ANOTHER-NAME" in said
    assert "Traceback" not in said
    assert (first.poll(), pid_of(client, "hookd-1")) == (None, first.pid)
    assert client.sismember("rq:workers", "rq:worker:hookd-1")


@pytest.mark.threat(32)
def test_reused_process_id_is_not_the_worker(hookd: Installation, client: Redis) -> None:
    kill(hookd.start_worker("hookd-1"))
    client.hset("rq:worker:hookd-1", "pid", os.getpid())
    assert start(hookd, client, "hookd-1").poll() is None


@pytest.mark.threat(48)
def test_worker_of_another_host_counts_as_alive(hookd: Installation, client: Redis) -> None:
    kill(hookd.start_worker("hookd-1"))
    client.hset("rq:worker:hookd-1", "hostname", "elsewhere.example.org")
    with running(python("-m", "worker", "hookd-1"), hookd.directory / "second.log", hookd.environment) as second:
        assert second.wait(30) == 1
    hookd.start_worker("hookd-2")
    wait_for(lambda: client.hget("rq:worker:hookd-2", "state") == b"idle", what="its first round")
    assert client.exists("rq:worker:hookd-1")


def test_wrong_typed_entry_is_replaced(hookd: Installation, client: Redis) -> None:
    client.set("rq:worker:hookd-1", "no hash")
    client.set("rq:workers", "no set")
    worker = hookd.start_worker("hookd-1")
    wait_for(lambda: client.type("rq:workers") == b"set", what="the worker")
    assert client.sismember("rq:workers", "rq:worker:hookd-1")
    assert (worker.poll(), pid_of(client, "hookd-1")) == (None, worker.pid)


# Deployments


def decided_about(client: Redis, deployment_id: str) -> list[str]:
    """Return the decisions about a deployment."""
    return [
        one.why for one in decision_log.read_newest(client, app_of(deployment_id), 9) if one.deployment == deployment_id
    ]


def assert_it_goes_on(hookd: Installation, client: Redis, abandoned: str) -> None:
    """See that an abandoned deployment has failed and that the next one has begun."""
    record = hookd.wait_for_ending(abandoned, SOON)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    wait_for(lambda: decided_about(client, abandoned) == ["the worker died while it ran"], 5, what="a decision")
    wait_for(lambda: len(hookd.records.history("shop", 9)) == 2, 5, what="the deployment that settles it")
    again, _ = hookd.records.history("shop", 9)
    assert again.trigger is Trigger.RECONCILE
    why = f"{abandoned} crashed; this deployment recovers the app"
    wait_for(lambda: why in decided_about(client, again.id), 5, what="why it was asked for")
    wait_for(lambda: status_of(client, abandoned) == "failed", SOON, what="RQ's own ending")
    hookd.wait_for_step(again.id, "fetch")


@pytest.mark.threat(46)
def test_restarted_worker_ends_its_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    kill(worker)
    assert start(hookd, client, "hookd-1").poll() is None
    assert_it_goes_on(hookd, client, abandoned)


@pytest.mark.threat(46)
def test_other_worker_ends_the_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    hookd.start_worker("hookd-2")
    wait_for(lambda: client.hget("rq:worker:hookd-2", "state") == b"idle", what="the other worker")
    kill(worker)
    assert_it_goes_on(hookd, client, abandoned)
    assert not client.exists("rq:worker:hookd-1")


@pytest.mark.threat(46)
def test_busy_worker_ends_the_deployment(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    hookd.start_worker("hookd-2")
    other = ask(hookd, "blog")
    busy = wait_until_fetching(hookd, other)
    kill(worker)
    record = hookd.wait_for_ending(abandoned, SOON)
    assert record.cause == "the worker died while it ran"
    assert hookd.records.get(other).status is Status.RUNNING
    assert hookd.deployer("blog") == busy
    assert cmdline(busy)


@pytest.mark.threat(46)
def test_crash_after_the_health_check_is_a_success(hookd: Installation, client: Redis) -> None:
    deployment_id = record_running(hookd)
    at, release = datetime.now(UTC), "000001-0123456789ab"
    stamp: dict[str, Any] = {"at": at, "deployment": deployment_id, "release": release}
    Journal(hookd.directory / "state" / "journals" / "shop.jsonl").add(
        Built(**stamp, commit="0123456789ab" + "0" * 28), Switched(**stamp), Good(**stamp)
    )
    hookd.start_worker()
    record = hookd.wait_for_ending(deployment_id, SOON)
    assert record.status is Status.SUCCEEDED
    assert record.cause == f"the worker died while it ran, after the health check of {release}"
    wait_for(lambda: hookd.records.history("shop", 1)[0].trigger is Trigger.RECONCILE, what="the one that settles it")


def record_running(hookd: Installation) -> str:
    """Make a running record without job and process, as after Redis lost its ending."""
    with Redis.from_url(hookd.redis_url) as client:
        deployment_id = ask(hookd)
        hookd.records.change(deployment_id, lambda old: advance(old, Status.RUNNING, datetime.now(UTC)))
        client.delete("rq:queue:hookd", f"rq:job:{deployment_id}", "rq:rl:app-shop:allowed")
    return deployment_id


def left_running_for_rq(client: Redis, deployment_id: str) -> None:
    """Leave a job as a Redis does that takes what its worker notes at its start, and then nothing any more."""
    entry, later = "0123456789abcdef", time.time() + 65
    client.delete("rq:queue:hookd")
    client.hset(f"rq:job:{deployment_id}", mapping={"status": "started", "worker_name": "hookd-0"})
    client.zadd("rq:wip:hookd", {f"{deployment_id}:{entry}": later})
    client.zadd(f"rq:executions:{deployment_id}", {entry: later})


def test_orphaned_job_blocks_for_seconds_only(hookd: Installation, client: Redis) -> None:
    ended = ask(hookd)
    for status in (Status.RUNNING, Status.SUCCEEDED):
        hookd.records.change(ended, lambda old, status=status: advance(old, status, datetime.now(UTC)))  # type: ignore[misc]
    left_running_for_rq(client, ended)
    waits = ask(hookd)
    assert status_of(client, waits) == "rate_limited"
    start(hookd, client, "hookd-1")
    wait_for(lambda: hookd.records.get(waits).status is Status.RUNNING, SOON, what="the next deployment")
    assert (hookd.records.get(ended).status, status_of(client, ended)) == (Status.SUCCEEDED, "failed")
    assert len(hookd.records.history("shop", 9)) == 2, "nothing is to be settled"


def test_job_started_for_rq_alone_is_retried(hookd: Installation, client: Redis) -> None:
    abandoned = ask(hookd)
    left_running_for_rq(client, abandoned)
    start(hookd, client, "hookd-1")
    assert_it_goes_on(hookd, client, abandoned)


def test_job_just_started_on_another_host_is_left(hookd: Installation, client: Redis) -> None:
    begun = ask(hookd)
    left_running_for_rq(client, begun)
    client.hset("rq:worker:hookd-0", mapping={"hostname": "elsewhere", "pid": "1", "birth": "2026-01-01T00:00:00Z"})
    start(hookd, client, "hookd-1")
    for number in range(3):  # Each is ended by a look that would have ended the other one, too.
        hookd.wait_for_ending(forge_running(client, number, "blog"), SOON)
    assert hookd.records.get(begun).status is Status.QUEUED


def forge_running(client: Redis, number: int = 0, app: str = "shop", score: float = 4e9) -> str:
    """Forge a running record."""
    forged = f"{app}-20260304T05060700{number}-0a1b2c"
    record = Deployment(id=forged, app=app, trigger=Trigger.PUSH, status=Status.RUNNING, created_at=datetime.now(UTC))
    client.hset(redis_keys.record_key(forged), "record", encode(record))
    client.expire(redis_keys.record_key(forged), 9999)
    client.zadd(redis_keys.history_key(app), {forged: score})
    return forged


@pytest.mark.threat(46)
def test_forged_running_record_is_ended(hookd: Installation, client: Redis) -> None:
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    record = hookd.wait_for_ending(forge_running(client), SOON)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    wait_for(lambda: len(hookd.records.history("shop", 9)) == 2, what="the deployment that settles it")
    assert {one.trigger for one in hookd.records.history("shop", 9)} == {Trigger.PUSH, Trigger.RECONCILE}


@pytest.mark.threat(46)
def test_job_running_on_another_host_is_left(hookd: Installation, client: Redis) -> None:
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    elsewhere = forge_running(client, 1)
    client.hset(f"rq:job:{elsewhere}", "status", "started")
    client.zadd("rq:wip:hookd", {f"{elsewhere}:0a1b2c": time.time() + 600})
    hookd.wait_for_ending(forge_running(client, 2), SOON)
    assert hookd.records.get(elsewhere).status is Status.RUNNING


@pytest.mark.threat(46)
def test_each_app_has_its_turn(hookd: Installation, client: Redis) -> None:
    text = (hookd.directory / "apps" / "shop.toml").read_text()
    for number in range(30):
        (hookd.directory / "apps" / f"app-{number}.toml").write_text(text.replace("shop", f"app-{number}"))
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    for forged in [forge_running(client, app=f"app-{number}") for number in (0, 29)]:
        hookd.wait_for_ending(forged, 2 * SOON)


def test_repeated_crashes_are_not_retried_at_once(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker()
    ask(hookd)
    for number in range(1, 4):
        wait_for(lambda count=number: len(hookd.records.history("shop", 9)) == count, what="the next")  # type: ignore[misc]
        newest, *_ = hookd.records.history("shop", 9)
        os.kill(wait_until_fetching(hookd, newest.id), signal.SIGKILL)
        hookd.wait_for_ending(newest.id, 10)
    wait_for(lambda: "no immediate retry" in log_of(hookd), what="the log")
    assert [one.trigger for one in hookd.records.history("shop", 9)] == ["reconcile", "reconcile", "push"]
    assert worker.poll() is None


def test_waiting_manual_deployment_comes_next(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    wish = DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=300, pinned_commit="a" * 40)
    waiting = hookd.records.request(wish).deployment
    kill(worker)
    hookd.start_worker("hookd-2")
    hookd.wait_for_ending(abandoned, SOON)
    hookd.wait_for_step(waiting, "fetch")
    assert [one.id for one in hookd.records.history("shop", 9)] == [waiting, abandoned]


@pytest.mark.threat(34)
def test_forced_stop_is_recovered_at_once(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    worker.terminate()
    wait_for(lambda: client.hexists("rq:worker:hookd-1", "shutdown_requested_date"), what="the worker to know")
    time.sleep(1.2)  # RQ takes a second signal within a second of that for the same.
    worker.terminate()
    worker.wait(10)
    hookd.start_worker("hookd-2")
    assert_it_goes_on(hookd, client, abandoned)


def test_liveness_files_are_removed(hookd: Installation, client: Redis) -> None:
    hookd.start_worker()
    deployment_id = ask(hookd)
    wait_until_fetching(hookd, deployment_id)
    locks = hookd.directory / "state" / "locks"
    assert [path.name for path in locks.glob("*.run")] == [f"{deployment_id}.run"]
    os.kill(hookd.deployer("shop"), signal.SIGKILL)
    wait_for(lambda: f"{deployment_id}.run" not in os.listdir(locks), SOON, what="tidying up")


# Lost and forged keys

FULL = "18446744073709551615-18446744073709551615"


@pytest.mark.threat(82)
def test_exhausted_stream_is_deleted(hookd: Installation, client: Redis) -> None:
    start(hookd, client, "hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="its first round")
    kept = redis_keys.decisions_key("blog")
    for key in (redis_keys.REFUSALS, redis_keys.decisions_key("shop")):
        client.xadd(key, {"decision": "{}"}, id=FULL, maxlen=0, approximate=False)
    client.xadd(kept, {"decision": "{}"}, id=f"{int(time.time() + 3600) * 1000}-0")
    for key in (redis_keys.REFUSALS, redis_keys.decisions_key("shop")):
        wait_for(lambda one=key: not client.exists(one), SOON, what=f"the end of {key}")  # type: ignore[misc]
        client.xadd(key, {"decision": "{}"})
    assert client.exists(kept), "a clock that was set back by an hour is no reason"


@pytest.mark.threat(52)
def test_worker_registers_again_after_a_flush(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="the worker")
    before: Any = client.hgetall("rq:worker:hookd-1")
    client.flushall()
    wait_for(lambda: client.hexists("rq:worker:hookd-1", "birth"), SOON, what="its entry")
    after: Any = client.hgetall("rq:worker:hookd-1")
    wait_for(lambda: [one.name for one in Worker.all(connection=client)] == ["hookd-1"], what="RQ's own list")
    changing = {b"last_heartbeat"}
    assert {key: value for key, value in after.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }
    assert client.ttl("rq:worker:hookd-1") > 0
    hookd.wait_for_step(ask(hookd), "fetch")
    assert worker.poll() is None


@pytest.mark.threat(52)
def test_flush_during_a_deployment_is_survived(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    deployment_id = ask(hookd)
    process = wait_until_fetching(hookd, deployment_id)
    client.flushall()
    wait_for(lambda: client.sismember("rq:workers", "rq:worker:hookd-1"), SOON, what="its entry")
    assert cmdline(process)
    os.kill(process, signal.SIGKILL)
    hookd.wait_for_step(ask(hookd), "fetch")
    assert worker.poll() is None


@pytest.mark.threat(52)
@pytest.mark.parametrize("busy", [False, True])
def test_worker_stops_in_seconds_without_redis(tmp_path: Path, busy: bool) -> None:
    with Installation(tmp_path) as hookd:
        hookd.add_app(
            "shop", handover="restart", build={"commands": [["sleep", "2"], ["false"]]}, service={"preflight": []}
        )
        hookd.repositories["shop"].commit_and_push({"README": "nothing to install"})
        hookd.start_redis()
        worker = hookd.start_worker()
        with Redis.from_url(hookd.redis_url) as client:
            wait_for(lambda: client.hget("rq:worker:worker", "state") == b"idle", what="the worker")
            server: Any = client.info("server")
        if busy:
            hookd.wait_for_step(ask(hookd), "build")
        os.kill(server["process_id"], signal.SIGSTOP if busy else signal.SIGKILL)
        time.sleep(1)  # Let it notice.
        worker.terminate()
        if busy:
            time.sleep(4)
            os.kill(server["process_id"], signal.SIGCONT)
        assert worker.wait(20 if busy else 5) == 0
        assert "Traceback" not in log_of(hookd)


def test_idle_worker_logs_nothing(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="the worker")
    worker.terminate()
    worker.wait(10)
    lines = [re.sub(r"process=\d+", "process=N", line) for line in log_of(hookd).splitlines()]
    assert lines == [
        "INFO hookd.worker worker started worker=hookd-1 process=N",
        "INFO hookd.worker worker stops worker=hookd-1",
    ]


@pytest.mark.threat(40)
def test_a_thousand_apps_need_few_commands(hookd: Installation, client: Redis) -> None:
    text = (hookd.directory / "apps" / "shop.toml").read_text()
    for number in range(1000):
        (hookd.directory / "apps" / f"app-{number}.toml").write_text(text.replace("shop", f"app-{number}"))
        client.set(redis_keys.waiting_key(f"app-{number}"), "nobody")
    hookd.start_worker("hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="the worker")
    client.config_resetstat()
    wait_for(lambda: client.info("commandstats").get("cmdstat_xinfo|stream"), SOON, what="the next round")
    stats: Any = client.info("commandstats")
    assert sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info") < 100


def test_deregistered_worker_s_job_fails_in_rq(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    kill(worker)
    hookd.start_worker("hookd-2")
    wait_for(lambda: status_of(client, abandoned) == "failed", SOON, what="RQ's own ending")
    entries: Any = client.zrange("rq:wip:hookd", 0, -1)
    assert not [one for one in entries if one.startswith(abandoned.encode())]
    assert not client.exists("rq:worker:hookd-1:executions")
