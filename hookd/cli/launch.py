"""Becomes another program: the worker, or the embedded Redis server; nothing is left between it and its supervisor."""

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from hookd.store.config import VARIABLE, Config
from hookd.store.connection import impatient
from hookd.store.redis_program import redis_program

_MEMORY = "64mb"
_ELSEWHERE = "start that server by its own means, or name a unix socket as redis.url in hookd.toml"


class LaunchError(Exception):
    """The program cannot be started as configured; `hint` is what to do next."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def become_worker(config: Config, name: str | None) -> NoReturn:
    """Become a worker; its package is never imported here, since it may not meet a webhook secret."""
    os.environ[VARIABLE] = str(config.path)
    # -P: a directory that a person happens to stand in must not lend its modules to a worker, or to root.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker", *([name] if name else [])])


def become_reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> NoReturn:
    """Become the program that looks for missed pushes; like the worker it is never imported here."""
    os.environ[VARIABLE] = str(config.path)
    options = ["--every", str(every)] if every else ["--now"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker.reconcile", *options, "--", *apps])


def become_redis(config: Config) -> NoReturn:
    """Become the embedded server; raises LaunchError when the configuration wants another one."""
    if config.settings.redis.passwords:
        raise LaunchError(
            "redis.passwords is set: the embedded server knows no users; it takes no password",
            hint="systemctl status hookd-redis.service (on a server, systemd runs Redis)",
        )
    directory = config.settings.redis.directory or config.settings.state / "redis"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if redis_answers(config.settings.redis.url):
        raise LaunchError(f"a Redis answers at {config.settings.redis.url} already", hint="hookd status")
    program = str(redis_program())
    os.execv(program, [program, *server_options(config.settings.redis.url, directory)])


def redis_answers(url: str) -> bool:
    """Tell whether a server is there; one that wants a password is."""
    try:
        return bool(impatient(url).ping())
    except (AuthenticationError, ResponseError):
        return True
    except RedisError:
        return False


def check_free(bind: str) -> None:
    """See whether the receiver can listen, unless a process manager holds the socket; raises OSError."""
    if bind.startswith("unix:") or "LISTEN_FDS" in os.environ:
        return
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))


def server_options(url: str, directory: Path) -> list[str]:
    """The server's options: reached only as `url` says, every write on disk within a second, never dropping a key."""
    return [
        *_listening(url),
        "--dir", str(directory),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--save", "",
        "--maxmemory", _MEMORY,
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no",
    ]  # fmt: skip


def _listening(url: str) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        Path(parts.path).parent.mkdir(parents=True, exist_ok=True)
        return ["--port", "0", "--unixsocket", parts.path, "--unixsocketperm", "700"]
    if parts.password or parts.username:
        raise LaunchError("redis.url holds a password: the embedded server knows none", hint=_ELSEWHERE)
    if parts.scheme == "redis" and parts.hostname in ("127.0.0.1", "localhost") and not parse_qs(parts.query):
        return ["--port", str(parts.port or 6379), "--bind", "127.0.0.1"]
    raise LaunchError(
        f"redis.url is {url}: the embedded server listens on a unix socket or on 127.0.0.1", hint=_ELSEWHERE
    )
