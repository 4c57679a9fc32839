"""The receiver's application beside a real Redis, and the requests of the senders."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from flask import Flask
from redis import Redis
from werkzeug.test import TestResponse

from hookd.config import Config
from hookd.model.deployment import Deployment, Status, advance
from hookd.model.git_hosts import GitHost
from hookd.model.redis_keys import REFUSALS, counts_key, decisions_key
from hookd.queue.deployments import DeploymentStore
from hookd.receiver.server import build
from tests.support.installation import Installation
from tests.support.signatures import REDELIVERED, headers_of

FORM = "application/x-www-form-urlencoded"
OLD = "1" * 40
NEW = "2" * 40
ZEROS = "0" * 40

Headers = Mapping[str, str]


@dataclass(frozen=True, repr=False)
class LocalReceiver:
    """The receiver's application, which takes requests without a network, and the Redis behind it."""

    app: Flask
    redis: Redis
    config: Config

    @property
    def records(self) -> DeploymentStore:
        """The deployments, read directly."""
        return DeploymentStore(self.redis, keep_seconds=3600)

    def post(self, path: str, body: bytes, headers: Headers) -> TestResponse:
        """Send one request with a body."""
        return self.app.test_client().post(path, data=body, headers=dict(headers))

    def push(self, sender: str = "github", body: bytes | None = None, **changes: Any) -> TestResponse:
        """Send a signed push to the app that is named after its sender. Another delivery is another push."""
        sent = push_body(sender, delivery=changes.get("delivery", REDELIVERED)) if body is None else body
        return self.post(f"/hooks/{sender}", sent, headers_of(sender, sent, **changes))

    def get(self, path: str, headers: Headers | None = None) -> TestResponse:
        """Ask for a page."""
        return self.app.test_client().get(path, headers=dict(headers or {}), buffered=True)

    def stored(self) -> int:
        """Count what stands in Redis of deployments."""
        return stored(self.redis)

    def end(self, deployment_id: str, status: Status) -> Deployment:
        """Run a deployment to an ending."""
        records = self.records
        now = records.get(deployment_id).created_at
        records.change(deployment_id, lambda old: advance(old, Status.RUNNING, now))
        return records.change(deployment_id, lambda old: advance(old, status, now))


def stored(redis: Redis) -> int:
    """Count what stands in Redis but for what was decided, and how often."""
    kept = tuple(name.encode() for name in (decisions_key(""), REFUSALS, counts_key("")))
    return sum(1 for key in redis.scan_iter() if not key.startswith(kept))


def everything(redis: Redis) -> str:
    """Return all keys and values of Redis as text."""
    readers: dict[Any, Callable[[Any], Any]] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }

    def read(key: bytes) -> Any:
        reader = readers.get(redis.type(key))  # A key may go while the others are read.
        return reader(key) if reader else None

    return "\n".join(f"{key!r} {read(key)!r}" for key in redis.scan_iter())


@contextmanager
def run_receiver(directory: Path, **settings: Any) -> Iterator[LocalReceiver]:
    """Run a Redis, and build the application for four apps, each named after its sender."""
    with Installation(directory, settings) as installation:
        for sender in GitHost:
            installation.add_app(sender, sender=sender)
        installation.start_redis()
        with Redis.from_url(installation.redis_url) as redis:
            app = build(installation.config)
            yield LocalReceiver(app, redis, installation.config)


def content(response: TestResponse) -> dict[str, Any]:
    """Read an answer's JSON object."""
    found: dict[str, Any] = json.loads(response.data)
    return found


def push_body(app: str, **changes: Any) -> bytes:
    """Build a push event for the app. A change of None removes the key."""
    event = {
        "ref": "refs/heads/main",
        "before": OLD,
        "after": NEW,
        "repository": {"full_name": f"acme/{app}"},
        **changes,
    }
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def form_of(body: bytes) -> bytes:
    """Put JSON into a form, as senders do."""
    return b"payload=" + quote_plus(body).encode()
