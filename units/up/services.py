"""Starts and stops circus with everything that it runs. It goes on when the command that started it ends."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hookd.commands import edit_command
from hookd.config import Config
from hookd.http_probe import Address, NoAnswer, request_status
from units.render.circus import CircusConfig
from units.system.errors import HostError
from units.up.home import Home, require_free_port

_READY_SECONDS: Final = 40
# circus stops one service after the other, each within 30 or 35 s.
_STOP_SECONDS: Final = 150
_ORPHAN_SECONDS: Final = 10
# Circus and all that it starts have this variable, with the directory.
_MARK: Final = "HOOKD_UP"


def start(home: Home) -> bool:
    """Start everything, and wait until the receiver and the worker are ready. Return False if it ran already.

    Raises HostError if one does not start.
    """
    config = home.load()
    circus = home.circus(config)
    text = circus.ini
    if running := _running(circus):
        if circus.file.read_text(encoding="utf-8") == text:
            os.close(running)
            return False
        _end(running)
    _end_orphans(home)
    _require_free_ports(home, config)
    circus.file.write_text(text, encoding="utf-8")
    _remove_sockets(home, config)
    process = _spawn(home, circus.command)
    _pid_file(circus).write_text(f"{process.pid}\n", encoding="ascii")
    port = int(config.settings.receiver.bind.rpartition(":")[2])
    hint = f"tail -n 30 {home.log}"
    _wait(lambda: _is_ready(port), process, HostError("the receiver is not ready", hint=hint))
    environment = config.settings.rq_environment
    _wait(environment.exists, process, HostError("the worker is not ready", hint=hint))
    return True


def stop(home: Home) -> bool:
    """Stop everything. Return False if nothing ran."""
    running = _running(home.circus(home.load()))
    if running:
        _end(running)
    return _end_orphans(home) or running is not None


@contextmanager
def running_beside(home: Home, command: tuple[str, ...]) -> Iterator[None]:
    """Run one more program of hookd during the block."""
    process = _spawn(home, command)
    try:
        yield
    finally:
        _end(os.pidfd_open(process.pid))
        process.wait()


def _spawn(home: Home, command: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, away from the terminal's Ctrl-C."""
    with home.log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=home.directory,
            env={**_service_environment(), _MARK: str(home.directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _pid_file(circus: CircusConfig) -> Path:
    return circus.file.with_suffix(".pid")


def _running(circus: CircusConfig) -> int | None:
    """Return a descriptor of the process of circus, or None if it does not run."""
    try:
        pid = int(_pid_file(circus).read_text(encoding="ascii"))
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        # The number may belong to another process by now.
        if str(circus.file) in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0"):
            return descriptor
    os.close(descriptor)
    return None


def _end(descriptor: int) -> None:
    """Stop circus, which stops all services."""
    try:
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 10)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], seconds)[0]:
                return
    finally:
        os.close(descriptor)


def _end_orphans(home: Home) -> bool:
    """End what a killed circus has left. Return False if there was nothing."""
    orphans = [descriptor for path in Path("/proc").glob("[0-9]*") if (descriptor := _marked(path, home))]
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + _ORPHAN_SECONDS
        for descriptor in orphans:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
        for descriptor in orphans:
            select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
    for descriptor in orphans:
        os.close(descriptor)
    return bool(orphans)


def _marked(process: Path, home: Home) -> int | None:
    """Return a descriptor of a process that circus has started for this directory, else None.

    Redis overwrites its variables with its title.
    """
    with suppress(OSError):
        variables, title = ((process / name).read_bytes() for name in ("environ", "cmdline"))
        is_redis = f"unixsocket:{home.directory}/redis.sock\0".encode() in title
        if is_redis or f"{_MARK}={home.directory}".encode() in variables.split(b"\0"):
            return os.pidfd_open(int(process.name))
    return None


def _require_free_ports(home: Home, config: Config) -> None:
    """Raise HostError if another program uses a port of the app or of the receiver."""
    listens = [(home.app_file, app.service.listen) for app in config.catalogue.apps]
    for file, address in (*listens, (home.config_file, config.settings.receiver.bind)):
        host, _, port = (address or "").rpartition(":")
        if host == "127.0.0.1":
            require_free_port(int(port), edit_command(str(file)))


def _remove_sockets(home: Home, config: Config) -> None:
    """Remove the sockets of a killed circus, which it would not bind again."""
    for app in config.catalogue.apps:
        for service in app.services:
            (home.directory / f"{service}.sock").unlink(missing_ok=True)


def _service_environment() -> dict[str, str]:
    """Return the services' environment. uv gets pip's index, because it does not read pip's settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=60, check=False)
    index = env.get("PIP_INDEX_URL") or done.stdout.strip()
    return {**env, "UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in env else env


def _wait(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", problem: HostError) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise problem
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    with suppress(NoAnswer):
        return request_status(Address(port=port), "/readyz", "localhost", 2) == 200
    return False
