"""Names of workers: a killed worker gives up its name, a living one keeps it."""

import os

import pytest
from redis import Redis

from tests.support.abandoned import (
    kill,
    log_of,
    pid_of,
    start,
)
from tests.support.installation import Installation
from tests.support.processes import python, running, wait_for


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
def test_reused_process_id_is_recognised(hookd: Installation, client: Redis) -> None:
    kill(hookd.start_worker("hookd-1"))
    client.hset("rq:worker:hookd-1", "pid", os.getpid())
    assert start(hookd, client, "hookd-1").poll() is None


@pytest.mark.threat(48)
def test_remote_worker_counts_as_alive(hookd: Installation, client: Redis) -> None:
    kill(hookd.start_worker("hookd-1"))
    client.hset("rq:worker:hookd-1", "hostname", "elsewhere.example.org")
    with running(python("-m", "worker", "hookd-1"), hookd.directory / "second.log", hookd.environment) as second:
        assert second.wait(30) == 1
    hookd.start_worker("hookd-2")
    wait_for(lambda: client.hget("rq:worker:hookd-2", "state") == b"idle", what="its first round")
    assert client.exists("rq:worker:hookd-1")
