"""Deployments that hang in their first step, so that a test can kill them, their process or their worker."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from hookd.model.deployment import Trigger
from hookd.model.ids import app_of
from hookd.queue.deployments import DeploymentRequest
from tests.support.installation import Installation


@contextmanager
def silent_server() -> Iterator[str]:
    """Run a git server that accepts connections and never answers, so that each fetch hangs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/shop.git"


@contextmanager
def hanging(directory: Path, *apps: str) -> Iterator[Installation]:
    """Provide a Redis and apps whose deployments hang, and kill the remaining workers."""
    with Installation(directory) as installation, silent_server() as url:
        for name in apps:
            installation.add_app(name, repository=url)
        installation.start_redis()
        yield installation
        _kill_workers(installation)


def _kill_workers(hookd: Installation) -> None:
    """Kill all workers, which would wait for their deployments."""
    with Redis.from_url(hookd.redis_url) as client:
        for key in client.scan_iter("rq:worker:*"):
            pid = client.hget(key, "pid") if key.count(b":") == 2 else None
            if pid and int(pid) != os.getpid() and "worker" in cmdline(int(pid)):
                os.kill(int(pid), signal.SIGKILL)


def cmdline(pid: int) -> str:
    """Return the command line of a process, or nothing if it is gone."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


def ask(hookd: Installation, app: str = "shop") -> str:
    """Request a deployment and return its id."""
    return hookd.records.request(DeploymentRequest(app=app, trigger=Trigger.PUSH, seconds=300)).deployment


def wait_until_fetching(hookd: Installation, deployment_id: str) -> int:
    """Wait until a deployment hangs, and return its process."""
    hookd.wait_for_step(deployment_id, "fetch")
    return hookd.deployer(app_of(deployment_id))
