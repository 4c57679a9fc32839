"""`hookd serve`, `worker`, `reconcile`, `redis`, `send`, `demo`: hookd's programs in the foreground."""

import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import click
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from hookd.cli import common
from hookd.cli import send as send_module
from hookd.cli.deploy import show_and_exit
from hookd.config import VARIABLE, Config, ConfigError
from hookd.credentials import Secret
from hookd.model.app import App
from hookd.queue.client import find_redis_program, receiver_client
from hookd.receiver.secrets import read_secrets, secret_file

_MEMORY = "64mb"


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
    url = config.settings.redis.url
    if not is_redis_up(url):
        common.print_error(f"hookd: waiting for Redis at {url}\n  next: {common.start_command('redis', config)}")
    _exec_module(config, "worker", *([name] if name else []))


@click.command(epilog="Example: hookd reconcile --every 30")
@click.argument("apps", nargs=-1, metavar="[APP]...", shell_complete=common.complete_app)
@click.option("--every", type=click.IntRange(1), metavar="SECONDS", help="Stay and repeat, default: run once.")
@common.needs_config
def reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> None:
    """Find missed pushes and stopped services, and fix them."""
    for name in apps:
        common.find_app(config.catalogue, name)
    state = config.settings.state
    if state.exists() and state.stat().st_uid != os.geteuid():
        common.fail(f"{state} belongs to another user", hint="sudo systemctl start hookd-reconcile.service")
    url = config.settings.redis.url
    if every is None and not is_redis_up(url):
        common.fail(
            f"Redis does not answer at {url}", hint=common.start_command("redis", config), status=common.UNREACHABLE
        )
    options = ["--every", str(every)] if every else ["--now"]
    _exec_module(config, "worker.reconcile", *options, "--", *apps)


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
    if is_redis_up(settings.url):
        common.fail(f"a Redis answers at {settings.url} already", hint="hookd status")
    program = str(find_redis_program())
    os.execv(program, [program, *_redis_options(settings.url, directory)])


def _redis_options(url: str, directory: Path) -> list[str]:
    """Return the server's options: every write on disk within a second, no key evicted."""
    return [
        *_listen_options(url),
        "--dir", str(directory),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--save", "",
        "--maxmemory", _MEMORY,
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no",
    ]  # fmt: skip


def _listen_options(url: str) -> list[str]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        Path(parts.path).parent.mkdir(parents=True, exist_ok=True)
        return ["--port", "0", "--unixsocket", parts.path, "--unixsocketperm", "700"]
    is_local = parts.scheme == "redis" and parts.hostname in ("127.0.0.1", "localhost")
    if is_local and not (parts.password or parts.username or parse_qs(parts.query)):
        return ["--port", str(parts.port or 6379), "--bind", "127.0.0.1"]
    return common.fail(
        "the embedded server listens on a unix socket or on 127.0.0.1, without a password",
        hint=f"change redis.url in hookd.toml, now {url}",
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
    """Raise OSError if the address is taken. A socket of the process manager is not checked."""
    if bind.startswith("unix:") or "LISTEN_FDS" in os.environ:
        return
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))


@click.command(epilog="Example: hookd send shop --wait")
@common.app_argument
@click.option("--post-receive", is_flag=True, help="Read `old new ref` lines from stdin, as a git hook does.")
@click.option("--wait/--no-wait", default=False, help="Wait for the deployment and show its steps.")
@common.json_option
@common.needs_config
def send(config: Config, app: str, post_receive: bool, wait: bool, json_output: bool) -> None:
    """Send the receiver a signed push, as the git host does."""
    known = common.find_app(config.catalogue, app)
    problems: list[Any] = []
    found = read_secrets(secret_file(config.settings.receiver.secrets, known.name), problems)
    if problems:
        raise ConfigError(problems)
    updates = send_module.parse_ref_updates(sys.stdin.readlines()) if post_receive else [_test_update(config, known)]
    answers = [_send(config, known, found[-1], update) for update in updates]
    if json_output:
        click.echo(json.dumps(answers if post_receive else answers[0], indent=2))
        return
    for answer in answers:
        text = f"{answer['deployment']}  {answer['status_url']}" if "deployment" in answer else answer["reason"]
        common.print_markup(common.safe_markup(f"{answer['status']}: {text}"))
    deployments = [answer["deployment"] for answer in answers if "deployment" in answer]
    if wait and deployments:
        show_and_exit(config, common.open_store(config), deployments[-1], wait=True, json_output=False)


def _send(config: Config, app: App, secret: Secret, update: send_module.RefUpdate) -> dict[str, Any]:
    try:
        code, answer = send_module.send(config.settings.receiver.bind, app, secret, update)
    except send_module.SendError as error:
        common.fail(str(error), hint=common.start_command("serve", config), status=common.UNREACHABLE)
    if code >= 400:
        common.fail(f"the receiver answered {code}: {answer.get('error')}", status=1)
    return answer


def _test_update(config: Config, app: App) -> send_module.RefUpdate:
    """Return a push to the known head, else to a random commit: the worker fetches the real head."""
    head = common.read_status(common.open_store(config), app).head
    return send_module.RefUpdate("0" * 40, head or secrets.token_hex(20), app.ref)


@click.command(epilog="Example: hookd demo --once")
@click.option("--once", is_flag=True, help="End after the three deployments.")
@click.option("--keep", is_flag=True, help="Keep the demo's directory.")
@common.report_errors
def demo(once: bool, keep: bool) -> None:
    """Show a push, a new dependency and a rollback here."""
    from units.demo.story import run_demo

    sys.exit(run_demo(common.console, once=once, keep=keep))


COMMANDS = (serve, worker, reconcile, redis, send, demo)
