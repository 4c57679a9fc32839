"""Jobs as an attacker writes them into Redis, field by field, and a trap that shows if one of them ran code."""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.ids import new_deployment_id
from tests.support.installation import Installation
from tests.support.processes import wait_for

# A module that leaves a trace when it is imported and when its function is called.
TRAP = """
import os, pathlib
def run(*_, **__):
    pathlib.Path(os.environ["TRAP_MARKER"]).touch()
run()
"""


def call(function: Any, *arguments: Any, instance: Any = None, **words: Any) -> bytes:
    """Encode a call as RQ stores it with the JSON serializer."""
    return zlib.compress(json.dumps([function, instance, list(arguments), words]).encode())


class Pickled:
    """Leaves a trace when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self._marker}",)


def put_job(client: Redis, fields: Mapping[Any, Any], job_id: str | None = None, queue: str = redis_keys.QUEUE) -> str:
    """Write a job's hash and put its id into a queue. `fields` override those of a sound job."""
    job_id = job_id or f"raw-{uuid4().hex}"
    sound: dict[Any, Any] = {
        "created_at": "2026-03-04T05:06:07.000000Z",
        "status": "queued",
        "origin": queue,
        "timeout": 60,
    }
    client.hset(f"rq:job:{job_id}", mapping={**sound, **fields})
    put_id(client, job_id, queue)
    return job_id


def put_id(client: Redis, job_id: str | bytes, queue: str = redis_keys.QUEUE) -> None:
    """Put an id into a queue."""
    client.sadd("rq:queues", f"rq:queue:{queue}")
    client.rpush(f"rq:queue:{queue}", job_id)


def status_of(client: Redis, job_id: str) -> str | None:
    """Return a job's status in Redis."""
    raw = client.hget(f"rq:job:{job_id}", "status")
    return raw.decode() if isinstance(raw, bytes) else None


def superseded(client: Redis) -> str:
    """Write the record of a superseded deployment, whose job does nothing and succeeds."""
    at = datetime.now(UTC)
    record = Deployment(
        id=new_deployment_id("shop", at),
        app="shop",
        trigger=Trigger.PUSH,
        status=Status.SUPERSEDED,
        created_at=at,
        ended_at=at,
    )
    client.hset(redis_keys.record_key(record.id), "record", record.model_dump_json())
    return record.id


@dataclass(frozen=True)
class Site:
    """A Redis and one worker with a trap beside it."""

    installation: Installation
    client: Redis
    worker: "Popen[bytes]"
    marker: Path

    def superseded(self) -> str:
        """Write the record of a superseded deployment."""
        return superseded(self.client)

    def assert_a_good_job_finishes(self) -> None:
        """Queue a sound job behind all others, which the same process must finish."""
        job_id = put_job(self.client, {"data": call(redis_keys.DEPLOY, self.superseded())})
        wait_for(
            lambda: status_of(self.client, job_id) == "finished" or self.worker.poll() is not None, 30, "a good job"
        )
        assert self.worker.poll() is None, "the worker has ended"
        assert status_of(self.client, job_id) == "finished"
        assert self.client.hget("rq:worker:worker", "pid") == str(self.worker.pid).encode()

    def assert_nothing_ran(self) -> None:
        """Check that the trap was not triggered and the worker works on."""
        self.assert_a_good_job_finishes()
        assert not self.marker.exists()


@contextmanager
def site_with_trap(directory: Path) -> Iterator[Site]:
    """Run a Redis and a worker during the block."""
    marker = directory / "marker"
    (directory / "trap").mkdir()
    (directory / "trap" / "trap.py").write_text(TRAP)
    with Installation(directory) as installation, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(directory / "trap"), prepend=":")
        patch.setenv("TRAP_MARKER", str(marker))
        installation.add_app("shop")
        installation.start_redis()
        worker = installation.start_worker("worker")
        with Redis.from_url(installation.redis_url, socket_timeout=5) as client:
            yield Site(installation, client, worker, marker)
