"""Workers and their entries in Redis: lost keys, a stopped Redis, a quiet log."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Worker

from hookd.model import redis_keys
from tests.support.abandoned import (
    ENDING_SECONDS,
    kill,
    log_of,
    maintain,
)
from tests.support.hanging import ask, cmdline, wait_until_fetching
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of

FULL = "18446744073709551615-18446744073709551615"


@pytest.mark.threat(82)
def test_exhausted_stream_is_deleted(hookd: Installation, client: Redis) -> None:
    kept = redis_keys.decisions_key("blog")
    for key in (redis_keys.REFUSALS, redis_keys.decisions_key("shop")):
        client.xadd(key, {"decision": "{}"}, id=FULL, maxlen=0, approximate=False)
    client.xadd(kept, {"decision": "{}"}, id=f"{int(time.time() + 3600) * 1000}-0")
    maintain(client)
    for key in (redis_keys.REFUSALS, redis_keys.decisions_key("shop")):
        client.xadd(key, {"decision": "{}"})  # A full stream would refuse it.
    assert client.exists(kept), "a clock that was set back by an hour is no reason"


@pytest.mark.threat(52)
def test_worker_registers_again_after_a_flush(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    wait_for(lambda: client.hget("rq:worker:hookd-1", "state") == b"idle", what="the worker")
    before: Any = client.hgetall("rq:worker:hookd-1")
    client.flushall()
    wait_for(lambda: client.hexists("rq:worker:hookd-1", "birth"), ENDING_SECONDS, what="its entry")
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
    wait_for(lambda: client.sismember("rq:workers", "rq:worker:hookd-1"), ENDING_SECONDS, what="its entry")
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
    client.config_resetstat()
    maintain(client)
    stats: Any = client.info("commandstats")
    assert sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info") < 100


def test_job_of_deregistered_worker_fails(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("hookd-1")
    abandoned = ask(hookd)
    wait_until_fetching(hookd, abandoned)
    kill(worker)
    hookd.start_worker("hookd-2")
    wait_for(lambda: status_of(client, abandoned) == "failed", ENDING_SECONDS, what="RQ's own ending")
    entries: Any = client.zrange("rq:wip:hookd", 0, -1)
    assert not [one for one in entries if one.startswith(abandoned.encode())]
    assert not client.exists("rq:worker:hookd-1:executions")
