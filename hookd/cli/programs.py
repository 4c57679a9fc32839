"""`hookd serve`, `worker`, `reconcile`, `redis`, `send`, `demo`: the programs themselves, in the foreground."""

import json
import os
import secrets
import sys
from typing import Any

import click

from hookd.cli import launch
from hookd.cli import send as sending
from hookd.cli.base import (
    UNREACHABLE,
    app_of,
    as_json,
    complaints,
    configured,
    console,
    how_to_start,
    in_words,
    records_of,
    stop,
)
from hookd.cli.deployments import finish
from hookd.cli.terminal import harmless
from hookd.contract.catalogue import App
from hookd.secrets import Secret, read_secrets, secret_file
from hookd.store.config import Config, ConfigError
from hookd.store.records import Records


@click.command()
@configured
def serve(config: Config) -> None:
    """Run the receiver in the foreground."""
    from hookd.serve import serve as serve_forever

    bind = config.settings.receiver.bind
    try:
        launch.check_free(bind)
        serve_forever(config)
    except OSError as error:
        stop(f"the receiver cannot start at {bind}: {error}", hint="ss -ltnp")


@click.command()
@click.option("--name", help="The worker's name; default: made from host and process.")
@configured
def worker(config: Config, name: str | None) -> None:
    """Run one worker in the foreground."""
    url = config.settings.redis.url
    if not launch.redis_answers(url):
        said = f"hookd: waiting for Redis at {url}; next: {how_to_start(config).redis}"
        complaints.print(said, markup=False, soft_wrap=True)
    launch.become_worker(config, name)


@click.command()
@click.argument("apps", nargs=-1, metavar="[APP]...")
@click.option("--every", type=click.IntRange(1), metavar="SECONDS", help="Stay, and look so often which apps are due.")
@configured
def reconcile(config: Config, apps: tuple[str, ...], every: int | None) -> None:
    """Look whether pushes of the apps were missed, ask for their deployment, and for what mends a failed service."""
    for name in apps:
        app_of(config.catalogue, name)
    state = config.settings.state
    if state.exists() and state.stat().st_uid != os.geteuid():
        stop(f"{state} is not yours: it runs as its owner", hint="sudo systemctl start hookd-reconcile.service")
    url = config.settings.redis.url
    if every is None and not launch.redis_answers(url):
        stop(f"Redis does not answer at {url}", hint=how_to_start(config).redis, status=UNREACHABLE)
    launch.become_reconcile(config, apps, every)


@click.command()
@configured
def redis(config: Config) -> None:
    """Run the embedded Redis server in the foreground."""
    try:
        launch.become_redis(config)
    except launch.LaunchError as error:
        stop(str(error), hint=error.hint)


@click.command()
@click.argument("app")
@click.option(
    "--post-receive", is_flag=True, help="Read `old new ref` lines from standard input, as a git hook gets them."
)
@click.option("--wait/--no-wait", default=False, help="Stay until the deployment has ended and show its steps.")
@as_json
@configured
def send(config: Config, app: str, post_receive: bool, wait: bool, json_output: bool) -> None:
    """Send the receiver a signed push of APP's branch, as the git host would."""
    known = app_of(config.catalogue, app)
    problems: list[Any] = []
    found = read_secrets(secret_file(config.settings.receiver.secrets, known.name), problems)
    if problems:
        raise ConfigError(problems)
    moves = sending.read_moves(sys.stdin.readlines()) if post_receive else [_test_move(known, records_of(config))]
    answers = [_send(config, known, found[-1], moved) for moved in moves]
    if json_output:
        click.echo(json.dumps(answers if post_receive else answers[0], indent=2))
        return
    for answer in answers:
        what = f"{answer['deployment']}  {answer['status_url']}" if "deployment" in answer else answer["reason"]
        console.print(harmless(f"{answer['status']}: {what}"), markup=False, soft_wrap=True)
    deployments = [answer["deployment"] for answer in answers if "deployment" in answer]
    if wait and deployments:
        finish(config, records_of(config), deployments[-1], wait=True, json_output=False)


def _send(config: Config, app: App, secret: Secret, moved: sending.Moved) -> dict[str, Any]:
    try:
        code, answer = sending.send(config.settings.receiver.bind, app, secret, moved)
    except sending.SendError as error:
        stop(str(error), hint=how_to_start(config).receiver, status=UNREACHABLE)
    if code >= 400:
        stop(f"the receiver answered {code}: {answer.get('error')}", status=1)
    return answer


def _test_move(app: App, records: Records) -> sending.Moved:
    """A push that never happened: the receiver takes it as a hint, and the worker looks where the branch really is."""
    head = records.view(app.name).head
    return sending.Moved("0" * 40, head or secrets.token_hex(20), app.ref)


@click.command()
@click.option("--once", is_flag=True, help="End after the three deployments instead of staying up.")
@click.option("--keep", is_flag=True, help="Leave the demo's directory behind.")
@in_words
def demo(once: bool, keep: bool) -> None:
    """Show the main job on this machine: a push goes live, a dependency changes, a broken commit is rolled back."""
    from hookd.demo.story import run_demo

    sys.exit(run_demo(console, once=once, keep=keep))


COMMANDS = (serve, worker, reconcile, redis, send, demo)
