"""Starts and stops the demo's services."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hookd.http_probe import Address, NoAnswer, request_status
from units.demo.environment import DemoEnvironment
from units.system.errors import HostError

_READY_SECONDS: Final = 40
# circus stops one service after the other, each within 30 or 35 s.
_STOP_SECONDS: Final = 150


@contextmanager
def running_services(demo: DemoEnvironment) -> Iterator[None]:
    """Run Redis, receiver, worker and app during the block. Raises HostError if one does not start."""
    log = demo.directory / "services.log"
    with _running(demo, log, *demo.circus.command) as manager:
        _wait(lambda: _is_ready(demo.hook_port), manager, f"the receiver is not ready; see {log}")
        _wait(demo.environment_file.exists, manager, f"the worker is not ready; see {log}")
        yield


@contextmanager
def reconciling(demo: DemoEnvironment) -> Iterator[None]:
    """Look for missed pushes during the block."""
    command = (sys.executable, "-P", "-m", "hookd.cli", "--config", str(demo.config), "reconcile", "--every", "5")
    with _running(demo, demo.directory / "reconcile.log", *command):
        yield


@contextmanager
def _running(demo: DemoEnvironment, log: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program in its own session, away from the terminal's Ctrl-C."""
    with log.open("wb") as output:
        program = subprocess.Popen(
            command,
            cwd=demo.directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield program
    finally:
        _stop(program)


def _environment() -> dict[str, str]:
    """Return the services' environment. uv gets pip's index, because it does not read pip's settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=60, check=False)
    index = env.get("PIP_INDEX_URL") or done.stdout.strip()
    return {**env, "UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in env else env


def _wait(ready: Callable[[], bool], manager: "subprocess.Popen[bytes]", problem: str) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not ready():
        if manager.poll() is not None or time.monotonic() > end:
            raise HostError(problem)
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    with suppress(NoAnswer):
        return request_status(Address(port=port), "/readyz", "localhost", 2) == 200
    return False


def _stop(program: "subprocess.Popen[bytes]") -> None:
    program.send_signal(signal.SIGTERM)
    try:
        program.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
