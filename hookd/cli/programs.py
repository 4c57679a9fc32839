"""`hookd serve`, `worker`, `reconcile`, `redis`, `send`, `demo`: the programs themselves, in the foreground."""

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

from hookd.cli import send as send_module
from hookd.cli.common import (
    UNREACHABLE,
    as_json,
    console,
    error_console,
    find_app,
    needs_config,
    open_records,
    report_errors,
    start_commands,
    stop,
)
from hookd.cli.deploy import show_and_exit
from hookd.cli.safe_text import sanitize
from hookd.config import VARIABLE, Config, ConfigError
from hookd.credentials import Secret
from hookd.model.app import App
from hookd.queue.app_status import AppStatusStore
from hookd.queue.client import find_redis_program, receiver_client
from hookd.queue.deployments import DeploymentStore
from hookd.receiver.secrets import read_secrets, secret_file


@click.command()
@needs_config
def serve(config: Config) -> None:
    """Run the receiver in the foreground."""
    from hookd.receiver.server import serve as serve_forever

    bind = config.settings.receiver.bind
    try:
        check_bind(bind)
        serve_forever(config)
    except OSError as error:
        stop(f"the receiver cannot start at {bind}: {error}", hint="ss -ltnp")


@click.command()
@click.option("--name", help="The worker's name; default: made from host and process.")
@needs_config
def worker(config: Config, name: str | None) -> None:
    """Run one worker in the foreground."""
    url = config.settings.redis.url
    if not is_redis_up(url):
        said = f"hookd: waiting for Redis at {url}; next: {start_commands(config).redis}"
        error_console.print(said, markup=False, soft_wrap=True)
    exec_worker(config, name)


@click.command()
@click.argument("apps", nargs=-1, metavar="[APP]...")
@click.option("--every", type=click.IntRange(1), metavar="SECONDS", help="Stay, and look so often which apps are due.")
@needs_config
def reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> None:
    """Look whether pushes of the apps were missed, ask for their deployment, and for what mends a failed service."""
    for name in apps:
        find_app(config.catalogue, name)
    state = config.settings.state
    if state.exists() and state.stat().st_uid != os.geteuid():
        stop(f"{state} is not yours: it runs as its owner", hint="sudo systemctl start hookd-reconcile.service")
    url = config.settings.redis.url
    if every is None and not is_redis_up(url):
        stop(f"Redis does not answer at {url}", hint=start_commands(config).redis, status=UNREACHABLE)
    exec_reconcile(config, apps, every)


@click.command()
@needs_config
def redis(config: Config) -> None:
    """Run the embedded Redis server in the foreground."""
    try:
        exec_redis(config)
    except StartError as error:
        stop(str(error), hint=error.hint)


@click.command()
@click.argument("app")
@click.option(
    "--post-receive", is_flag=True, help="Read `old new ref` lines from standard input, as a git hook gets them."
)
@click.option("--wait/--no-wait", default=False, help="Stay until the deployment has ended and show its steps.")
@as_json
@needs_config
def send(config: Config, app: str, post_receive: bool, wait: bool, json_output: bool) -> None:
    """Send the receiver a signed push of APP's branch, as the git host would."""
    known = find_app(config.catalogue, app)
    problems: list[Any] = []
    found = read_secrets(secret_file(config.settings.receiver.secrets, known.name), problems)
    if problems:
        raise ConfigError(problems)
    moves = (
        send_module.parse_ref_updates(sys.stdin.readlines())
        if post_receive
        else [_test_move(known, open_records(config))]
    )
    answers = [_send(config, known, found[-1], moved) for moved in moves]
    if json_output:
        click.echo(json.dumps(answers if post_receive else answers[0], indent=2))
        return
    for answer in answers:
        what = f"{answer['deployment']}  {answer['status_url']}" if "deployment" in answer else answer["reason"]
        console.print(sanitize(f"{answer['status']}: {what}"), markup=False, soft_wrap=True)
    deployments = [answer["deployment"] for answer in answers if "deployment" in answer]
    if wait and deployments:
        show_and_exit(config, open_records(config), deployments[-1], wait=True, json_output=False)


def _send(config: Config, app: App, secret: Secret, moved: send_module.RefUpdate) -> dict[str, Any]:
    try:
        code, answer = send_module.send(config.settings.receiver.bind, app, secret, moved)
    except send_module.SendError as error:
        stop(str(error), hint=start_commands(config).receiver, status=UNREACHABLE)
    if code >= 400:
        stop(f"the receiver answered {code}: {answer.get('error')}", status=1)
    return answer


def _test_move(app: App, records: DeploymentStore) -> send_module.RefUpdate:
    """A push that never happened: the receiver takes it as a hint, and the worker looks where the branch really is."""
    head = AppStatusStore(records.connection).read(app.name).head
    return send_module.RefUpdate("0" * 40, head or secrets.token_hex(20), app.ref)


@click.command()
@click.option("--once", is_flag=True, help="End after the three deployments instead of staying up.")
@click.option("--keep", is_flag=True, help="Leave the demo's directory behind.")
@report_errors
def demo(once: bool, keep: bool) -> None:
    """Show the main job on this machine: a push goes live, a dependency changes, a broken commit is rolled back."""
    from units.demo.story import run_demo

    sys.exit(run_demo(console, once=once, keep=keep))


COMMANDS = (serve, worker, reconcile, redis, send, demo)

_MEMORY = "64mb"
_ELSEWHERE = "start that server by its own means, or name a unix socket as redis.url in hookd.toml"


class StartError(Exception):
    """The program cannot be started as configured; `hint` is what to do next."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def exec_worker(config: Config, name: str | None) -> NoReturn:
    """Become a worker; its package is never imported here, since it may not meet a webhook secret."""
    os.environ[VARIABLE] = str(config.path)
    # -P: a directory that a person happens to stand in must not lend its modules to a worker, or to root.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker", *([name] if name else [])])


def exec_reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> NoReturn:
    """Become the program that looks for missed pushes; like the worker it is never imported here."""
    os.environ[VARIABLE] = str(config.path)
    options = ["--every", str(every)] if every else ["--now"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker.reconcile", *options, "--", *apps])


def exec_redis(config: Config) -> NoReturn:
    """Become the embedded server; raises LaunchError when the configuration wants another one."""
    if config.settings.redis.passwords:
        raise StartError(
            "redis.passwords is set: the embedded server knows no users; it takes no password",
            hint="systemctl status hookd-redis.service (on a server, systemd runs Redis)",
        )
    directory = config.settings.redis.directory or config.settings.state / "redis"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_redis_up(config.settings.redis.url):
        raise StartError(f"a Redis answers at {config.settings.redis.url} already", hint="hookd status")
    program = str(find_redis_program())
    os.execv(program, [program, *redis_options(config.settings.redis.url, directory)])


def is_redis_up(url: str) -> bool:
    """Tell whether a server is there; one that wants a password is."""
    try:
        return bool(receiver_client(url).ping())
    except (AuthenticationError, ResponseError):
        return True
    except RedisError:
        return False


def check_bind(bind: str) -> None:
    """See whether the receiver can listen, unless a process manager holds the socket; raises OSError."""
    if bind.startswith("unix:") or "LISTEN_FDS" in os.environ:
        return
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))


def redis_options(url: str, directory: Path) -> list[str]:
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
        raise StartError("redis.url holds a password: the embedded server knows none", hint=_ELSEWHERE)
    if parts.scheme == "redis" and parts.hostname in ("127.0.0.1", "localhost") and not parse_qs(parts.query):
        return ["--port", str(parts.port or 6379), "--bind", "127.0.0.1"]
    raise StartError(
        f"redis.url is {url}: the embedded server listens on a unix socket or on 127.0.0.1", hint=_ELSEWHERE
    )
