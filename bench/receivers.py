"""The receivers that are measured: hookd, and Debian's `webhook` that checks the HMAC and starts `redis-cli rpush`."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis

from hookd.model import redis_keys
from tests.support.processes import free_port, python, running, wait_for
from tests.support.redis_server import redis_server
from tests.support.toml_tables import toml

SECRET: Final = "a webhook secret for measurements"
# As on a server: accepted pushes survive a restart of Redis.
_REDIS_OPTIONS: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
_LIST: Final = "deployments"


@dataclass(frozen=True)
class Receiver:
    """A running receiver. `landed` counts the pushes in its Redis."""

    port: int
    pid: int
    landed: Callable[[], int]


@dataclass(frozen=True)
class Peer:
    """The programs of the peer."""

    webhook: str
    client: str


def find_peer() -> Peer | None:
    """Find the peer's programs. Root on Debian gets them installed, and other users see the command."""
    if _peer() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "webhook", "redis-tools"]
        subprocess.run(install, stdout=subprocess.DEVNULL, check=False, timeout=300)
    found = _peer()
    if found is None:
        print("the peer is missing: sudo apt-get install webhook redis-tools", file=sys.stderr)
    return found


def _peer() -> Peer | None:
    webhook, client = shutil.which("webhook"), shutil.which("redis-cli") or shutil.which("valkey-cli")
    return Peer(webhook, client) if webhook and client else None


@contextmanager
def hookd(directory: Path, apps: list[str], processes: int) -> Iterator[Receiver]:
    """Run hookd's receiver with a catalogue of apps and a Redis of its own."""
    with redis_server(directory / "redis", *_REDIS_OPTIONS) as url:
        port = free_port()
        config = _write_config(directory, url, port, apps, processes)
        env = {**os.environ, "HOOKD_CONFIG": str(config)}
        with (
            running(python("-m", "hookd.cli", "serve"), directory / "receiver.log", env) as process,
            Redis.from_url(url) as redis,
        ):
            _wait_for_port(port)
            yield Receiver(port, process.pid, lambda: sum(_pushes(redis, app) for app in apps))


def _pushes(redis: Redis, app: str) -> int:
    """Count the pushes of an app: its deployments, and the pushes that joined them."""
    joined: Any = redis.hvals(redis_keys.coalesced_key(app))
    return redis.zcard(redis_keys.history_key(app)) + sum(map(int, joined))


def _write_config(directory: Path, url: str, port: int, apps: list[str], processes: int) -> Path:
    for name in ("apps", "secrets"):
        (directory / name).mkdir()
    settings: dict[str, Any] = {
        "state": directory / "state",
        "redis": {"url": url},
        "receiver": {"bind": f"127.0.0.1:{port}", "processes": processes, "secrets": directory / "secrets"},
    }
    for app in apps:
        table: dict[str, Any] = {
            "repository": f"https://git.example.org/acme/{app}.git",
            "full_name": f"acme/{app}",
            "root": directory / "srv" / app,
            "health": {"url": "http://127.0.0.1:8000/healthz"},
        }
        (directory / "apps" / f"{app}.toml").write_text(toml(table))
        (directory / "secrets" / app).write_text(SECRET)
    path = directory / "hookd.toml"
    path.write_text(toml(settings))
    return path


@contextmanager
def peer(directory: Path, apps: list[str], programs: Peer, *, waits: bool) -> Iterator[Receiver]:
    """Run `webhook`. With `waits` it answers when the push is in Redis, as hookd does, else before."""
    with redis_server(directory / "redis", *_REDIS_OPTIONS) as url:
        port = free_port()
        hooks = directory / "hooks.json"
        path = directory / "redis" / "redis.sock"
        hooks.write_text(json.dumps([_hook(app, programs.client, path, waits) for app in apps]))
        argv = [programs.webhook, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)]
        with running(argv, directory / "webhook.log") as process, Redis.from_url(url) as redis:
            _wait_for_port(port)
            yield Receiver(port, process.pid, lambda: _length(redis))


def _hook(app: str, client: str, redis: Path, waits: bool) -> dict[str, Any]:
    words = [{"source": "string", "name": word} for word in ("-s", str(redis), "rpush", _LIST)]
    return {
        "id": app,
        "execute-command": client,
        "include-command-output-in-response": waits,
        "pass-arguments-to-command": [*words, {"source": "header", "name": "X-GitHub-Delivery"}],
        "trigger-rule-mismatch-http-response-code": 401,
        "trigger-rule": {
            "match": {
                "type": "payload-hmac-sha256",
                "secret": SECRET,
                "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
            }
        },
    }


def _length(redis: "Redis") -> int:
    found = redis.llen(_LIST)
    return found if isinstance(found, int) else 0


def _wait_for_port(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, what="the receiver")
