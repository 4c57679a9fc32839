"""A deployment whose process a person, a signal or the death of its worker ends has one ending."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.command import send_stop_job_command

from hookd.model.deployment import Deployment, Status
from tests.support.hanging import ask, hanging, wait_until_fetching
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of


@pytest.fixture
def hookd(tmp_path: Path) -> Iterator[Installation]:
    with hanging(tmp_path, "shop") as installation:
        yield installation


@pytest.fixture
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found


def ended(hookd: Installation, deployment_id: str) -> Deployment:
    return hookd.wait_for_ending(deployment_id, 40)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.promise(22)
def test_stopped_deployment_is_cancelled(hookd: Installation, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = hookd.directory / "marker"
    (hookd.directory / "trap.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef run(*_): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(hookd.directory), prepend=":")
    deployment_id = ask(hookd)
    client.hset(f"rq:job:{deployment_id}", "stopped_callback_name", "trap.run")
    worker = hookd.start_worker()
    process = wait_until_fetching(hookd, deployment_id)
    send_stop_job_command(client, deployment_id, serializer="json")
    record = ended(hookd, deployment_id)
    assert (record.status, record.cause) == (Status.CANCELLED, "a person stopped it")
    wait_for(lambda: status_of(client, deployment_id) == "stopped", what="RQ's own ending")
    wait_for(lambda: is_gone(process), what="the end of the process")
    assert worker.poll() is None
    assert not marker.exists()


def lose_patience(client: Redis, deployment_id: str) -> None:
    """Let the time pass after which RQ gives up a worker that says nothing: about a minute."""
    entries: Any = client.zrange("rq:wip:hookd", 0, -1)
    [entry] = [raw for raw in entries if raw.startswith(deployment_id.encode())]
    client.zadd("rq:wip:hookd", {entry: 1})


def test_deployment_dies_with_its_worker(hookd: Installation, client: Redis) -> None:
    worker = hookd.start_worker("first")
    deployment_id = ask(hookd)
    process = wait_until_fetching(hookd, deployment_id)
    worker.kill()
    worker.wait(10)
    wait_for(lambda: is_gone(process), what="the death of the deploying process")
    lose_patience(client, deployment_id)
    hookd.start_worker("second")
    record = ended(hookd, deployment_id)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    wait_for(lambda: status_of(client, deployment_id) == "failed", what="RQ's own ending")


def test_silent_worker_keeps_its_deployment(hookd: Installation, client: Redis) -> None:
    first = hookd.start_worker("first")
    deployment_id = ask(hookd)
    process = wait_until_fetching(hookd, deployment_id)
    first.send_signal(signal.SIGSTOP)
    lose_patience(client, deployment_id)
    hookd.start_worker("second")
    wait_for(lambda: status_of(client, deployment_id) == "failed", what="RQ's verdict")
    wait_for(lambda: client.hget("rq:worker:second", "state") == b"idle", what="the second worker")
    first.send_signal(signal.SIGCONT)
    assert hookd.records.get(deployment_id).status is Status.RUNNING
    assert not is_gone(process)


@pytest.mark.threat(49)
def test_taken_job_comes_back(hookd: Installation, client: Redis) -> None:
    deployment_id = ask(hookd)
    client.lmove("rq:queue:hookd", "rq:queue:hookd:intermediate", "LEFT", "RIGHT")
    hookd.start_worker()
    hookd.wait_for_step(deployment_id, "fetch")


def test_malformed_job_fails_its_deployment(hookd: Installation, client: Redis) -> None:
    deployment_id = ask(hookd)
    client.hset(f"rq:job:{deployment_id}", "data", "no call")
    hookd.start_worker()
    assert ended(hookd, deployment_id).status is Status.FAILED


@pytest.mark.threat(12)
def test_malformed_waiting_job_is_superseded(hookd: Installation, client: Redis) -> None:
    spoilt = ask(hookd)
    client.hset(f"rq:job:{spoilt}", "created_at", "yesterday")
    hookd.start_worker()
    wait_for(lambda: not client.exists(f"rq:job:{spoilt}"), what="the end of the spoilt job")
    deployment_id = ask(hookd)
    hookd.wait_for_step(deployment_id, "fetch")
    assert hookd.records.get(spoilt).status is Status.SUPERSEDED
