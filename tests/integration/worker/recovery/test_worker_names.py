"""Names of workers: a killed worker gives up its name, a living one keeps it."""

import os
import socket
from typing import Any

import pytest
from redis import Redis

from hookd.model import redis_keys
from tests.support.abandoned import kill, log_of, maintain, pid_of, start
from tests.support.installation import Installation
from tests.support.processes import python, running
from worker.recovery.worker_registry import own_start_ticks
from worker.rq_worker import NameTaken, SafeWorker


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
    assert "next=hookd worker --name ANOTHER-NAME" in said
    assert "Traceback" not in said
    assert (first.poll(), pid_of(client, "hookd-1")) == (None, first.pid)
    assert client.sismember("rq:workers", "rq:worker:hookd-1")


def register(client: Redis, **entry: Any) -> None:
    """Leave a worker's entry in Redis."""
    fields: dict[Any, Any] = {"hostname": socket.gethostname(), "started": "1", **entry}
    client.hset("rq:worker:hookd-1", mapping=fields)
    client.sadd("rq:workers", "rq:worker:hookd-1")


def named(client: Redis) -> SafeWorker:
    return SafeWorker([redis_keys.QUEUE], name="hookd-1", connection=client)


@pytest.mark.threat(32)
def test_reused_process_id_is_recognised(client: Redis) -> None:
    register(client, pid=os.getpid())
    named(client).register_birth()
    assert client.hget("rq:worker:hookd-1", "started") == own_start_ticks().encode()


@pytest.mark.threat(48)
def test_remote_worker_counts_as_alive(client: Redis) -> None:
    register(client, hostname="elsewhere.example.org", pid=2**22 + 1)
    with pytest.raises(NameTaken, match=r"hookd-1 is at work already \(process 4194305 on elsewhere"):
        named(client).register_birth()
    maintain(client)
    assert client.exists("rq:worker:hookd-1")
