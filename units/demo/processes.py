"""Starts the demo's process manager with everything under it, waits until it is ready, and stops it all."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from units.demo.environment import DemoEnvironment

_READY_SECONDS: Final = 40
_STOP_SECONDS: Final = 40


class NotReady(Exception):
    """A part of the demo did not start."""


@contextmanager
def running_services(place: DemoEnvironment) -> Iterator[None]:
    """Run everything for as long as the block lasts."""
    log = place.directory / "services.log"
    manager = _start(place, log, "-m", "circus.circusd", str(place.manager_config))
    try:
        _wait(lambda: _answers(place, "/readyz"), manager, f"the receiver is not ready; see {log}")
        _wait(place.environment_file.exists, manager, f"the worker is not ready; see {log}")
        yield
    finally:
        _stop(manager)


@contextmanager
def reconciling(place: DemoEnvironment) -> Iterator[None]:
    """Look for pushes that nobody told of, for as long as the block: in the story itself each is told of."""
    typed = ("--config", str(place.config), "reconcile", "--every", "5")
    program = _start(place, place.directory / "reconcile.log", "-P", "-m", "hookd.cli", *typed)
    try:
        yield
    finally:
        _stop(program)


def _start(place: DemoEnvironment, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start one of Python's programs in a session of its own, away from the terminal's Ctrl-C."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=place.directory,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment(outer: Mapping[str, str]) -> dict[str, str]:
    """The environment of all services; an index set for pip is told to uv, which does not read pip's settings."""
    env = {name: value for name, value in outer.items() if not name.startswith(("GIT_", "HOOKD_"))}
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=60, check=False)
    index = outer.get("PIP_INDEX_URL") or done.stdout.strip()
    return {**env, "UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in env else env


def _wait(ready: Callable[[], bool], manager: "subprocess.Popen[bytes]", complaint: str) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not ready():
        if manager.poll() is not None or time.monotonic() > end:
            raise NotReady(complaint)
        time.sleep(0.05)


def _answers(place: DemoEnvironment, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", place.hook_port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(manager: "subprocess.Popen[bytes]") -> None:
    manager.send_signal(signal.SIGTERM)
    try:
        manager.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(manager.pid, signal.SIGKILL)
        manager.wait()
