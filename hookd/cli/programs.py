"""`hookd serve`, `worker`, `reconcile`, `redis`: hookd's programs in the foreground."""

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import parse_qs, urlsplit

import click
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from hookd.cli import common
from hookd.commands import edit_command, start_command
from hookd.config import VARIABLE, Config
from hookd.model.ids import is_delivery
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import find_redis_program, no_answer, receiver_client, redis_address

# Every write is on disk within a second, and no key is evicted.
_REDIS_OPTIONS: Final = (
    *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
    *("--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
)


@click.command(epilog="Example: hookd serve")
@common.needs_config
def serve(config: Config) -> None:
    """Run the receiver."""
    from hookd.receiver.server import serve as serve_forever

    bind = config.settings.receiver.bind
    try:
        _check_bind(bind)
        serve_forever(config)
    except OSError as error:
        common.fail(f"the receiver cannot start at {bind}: {error}", hint="ss -ltnp")


@click.command(epilog="Example: hookd worker --name worker-2")
@click.option("--name", help="Default: from the host and the process id.")
@common.needs_config
def worker(config: Config, name: str | None) -> None:
    """Run one worker."""
    if name is not None and not is_delivery(name):
        common.fail(f"{name!r} cannot name a worker: A-Z a-z 0-9 . _ -", hint="hookd worker --name worker-2")
    _require_owner(config, "hookd-worker@1.service")
    url = config.settings.redis.url
    if not is_redis_up(url):
        start_redis = common.keep_config(start_command("redis", config))
        common.print_line(f"hookd: waiting for Redis at {redis_address(url)}\n  next: {start_redis}", err=True)
    _exec_module(config, "worker", *([name] if name else []))


@click.command(epilog="Example: hookd reconcile --every 30")
@click.argument("apps", nargs=-1, metavar="[APP]...", shell_complete=common.complete_app)
@click.option("--every", type=click.IntRange(1), metavar="SECONDS", help="Stay and repeat, default: run once.")
@common.needs_config
def reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> None:
    """Find missed pushes and stopped services, and fix them."""
    for name in apps:
        common.find_app(config.catalogue, name)
    _require_owner(config, "hookd-reconcile.service")
    url = config.settings.redis.url
    if every is None and not is_redis_up(url):
        hint = start_command("redis", config)
        common.fail(no_answer(url), hint=hint, status=common.UNREACHABLE)
    options = ["--every", str(every)] if every else ["--now"]
    _exec_module(config, "worker.reconcile", *options, "--", *apps)


def start_restore(config: Config, app: str, release: str, person: str) -> NoReturn:
    """Restore a backup of an app that circus runs, with the worker's program."""
    _require_owner(config, "hookd-worker@1.service")
    _exec_module(config, "worker.restore", app, release, person)


def _require_owner(config: Config, unit: str) -> None:
    """End the command for a user who may not deploy. The program itself checks it again."""
    try:
        require_owner(config, unit)
    except WrongUser as error:
        common.fail(error.cause, hint=error.hint)


def _exec_module(config: Config, module: str, *arguments: str) -> NoReturn:
    """Replace this process by a program of the worker.

    The worker's package is never imported here, because this process may have read a webhook secret. With -P no module
    is imported from the current directory.
    """
    os.environ[VARIABLE] = str(config.path)
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


@click.command(epilog="Example: hookd redis")
@common.needs_config
def redis(config: Config) -> None:
    """Run the embedded Redis server."""
    settings = config.settings.redis
    if settings.passwords:
        hint = "systemctl status hookd-redis.service"
        common.fail("redis.passwords is set, but the embedded server has no passwords", hint=hint)
    directory = settings.directory or config.settings.state / "redis"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(directory, os.W_OK):
        common.fail(f"you may not write {directory}", hint=shlex.join(("ls", "-ld", str(directory))))
    if is_redis_up(settings.url):
        common.fail(f"a Redis answers at {redis_address(settings.url)} already", hint="hookd status")
    program = str(find_redis_program())
    os.execv(program, [program, *_listen_options(config), "--dir", str(directory), *_REDIS_OPTIONS])


def _listen_options(config: Config) -> list[str]:
    parts = urlsplit(config.settings.redis.url)
    if parts.scheme == "unix":
        Path(parts.path).parent.mkdir(parents=True, exist_ok=True)
        return ["--port", "0", "--unixsocket", parts.path, "--unixsocketperm", "700"]
    is_local = parts.scheme == "redis" and parts.hostname in ("127.0.0.1", "localhost")
    if is_local and not (parts.password or parts.username or parse_qs(parts.query)):
        return ["--port", str(parts.port or 6379), "--bind", "127.0.0.1"]
    return common.fail(
        "the embedded server listens on a unix socket or on 127.0.0.1, without a password",
        hint=edit_command(str(config.path)),
    )


def is_redis_up(url: str) -> bool:
    """Return True if a server answers, even if it asks for a password."""
    try:
        return bool(receiver_client(url).ping())
    except (AuthenticationError, ResponseError):
        return True
    except RedisError:
        return False


def _check_bind(bind: str) -> None:
    """Raise OSError if the address is taken, and end the command if a socket has no directory.

    A socket of the process manager is not checked.
    """
    if "LISTEN_FDS" in os.environ:
        return
    if bind.startswith("unix:"):
        directory = Path(bind.removeprefix("unix:")).parent
        if not directory.is_dir():
            common.fail(f"the socket's directory {directory} is missing", hint=shlex.join(("mkdir", str(directory))))
        return
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    socket.create_server((host.strip("[]"), int(port)), family=family).close()
