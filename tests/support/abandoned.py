"""Workers that die and the deployments that they abandon, for the tests of recovery."""

import time
from datetime import UTC, datetime
from subprocess import Popen
from typing import Any

from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Trigger, encode
from hookd.model.ids import app_of
from hookd.queue import published
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of
from worker.rq_worker import SafeWorker

# The longest time until an abandoned deployment has its ending.
ENDING_SECONDS = 20


def kill(worker: "Popen[bytes]") -> None:
    worker.kill()
    worker.wait(10)


def start(hookd: Installation, client: Redis, name: str) -> "Popen[bytes]":
    """Start a worker and wait until it has its name in Redis."""
    worker: Popen[bytes] = hookd.start_worker(name)
    wait_for(lambda: pid_of(client, name) == worker.pid or worker.poll() is not None, what=name)
    return worker


def pid_of(client: Redis, name: str) -> int:
    raw: Any = client.hget(f"rq:worker:{name}", "pid")
    return int(raw or 0)


def maintain(client: Redis) -> None:
    """Do in this process what a worker does every ten seconds, under the configuration of HOOKD_CONFIG."""
    SafeWorker([redis_keys.QUEUE], connection=client, prepare_for_work=False).run_maintenance_tasks()


def log_of(hookd: Installation) -> str:
    return (hookd.directory / "worker.log").read_text()


def reasons_of(client: Redis, deployment_id: str) -> list[str]:
    """Return the decisions about a deployment."""
    return [
        one.why for one in published.read_decisions(client, app_of(deployment_id), 9) if one.deployment == deployment_id
    ]


def assert_recovered(hookd: Installation, client: Redis, abandoned: str) -> None:
    """Check that an abandoned deployment has failed and another one has started."""
    record = hookd.wait_for_ending(abandoned, ENDING_SECONDS)
    assert (record.status, record.cause) == (Status.FAILED, "the worker died while it ran")
    wait_for(lambda: reasons_of(client, abandoned) == ["the worker died while it ran"], 5, what="a decision")
    wait_for(lambda: len(hookd.records.history("shop", 9)) == 2, 5, what="the deployment that settles it")
    again, _ = hookd.records.history("shop", 9)
    assert again.trigger is Trigger.RECONCILE
    why = f"{abandoned} crashed; this deployment recovers the app"
    wait_for(lambda: why in reasons_of(client, again.id), 5, what="why it was asked for")
    wait_for(lambda: status_of(client, abandoned) == "failed", ENDING_SECONDS, what="RQ's own ending")
    hookd.wait_for_step(again.id, "fetch")


def leave_started_job(client: Redis, deployment_id: str) -> None:
    """Leave a job as started in RQ alone, as after Redis refused all later writes of its worker."""
    entry, later = "0123456789abcdef", time.time() + 65
    client.delete("rq:queue:hookd")
    client.hset(f"rq:job:{deployment_id}", mapping={"status": "started", "worker_name": "hookd-0"})
    client.zadd("rq:wip:hookd", {f"{deployment_id}:{entry}": later})
    client.zadd(f"rq:executions:{deployment_id}", {entry: later})


def forge_running(client: Redis, number: int = 0, app: str = "shop", score: float = 4e9) -> str:
    """Forge a running record."""
    forged = f"{app}-20260304T05060700{number}-0a1b2c"
    record = Deployment(id=forged, app=app, trigger=Trigger.PUSH, status=Status.RUNNING, created_at=datetime.now(UTC))
    client.hset(redis_keys.record_key(forged), "record", encode(record))
    client.expire(redis_keys.record_key(forged), 9999)
    client.zadd(redis_keys.history_key(app), {forged: score})
    return forged
