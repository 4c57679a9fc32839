"""`hookd send`: a signed push event like a git host's, for tests by hand, and as the hook of a plain git repository."""

import hmac
import http.client
import json
import secrets
import shlex
import sys
import uuid
from contextlib import closing
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import click

from hookd.cli import common
from hookd.cli.deploy import show_and_exit
from hookd.commands import start_command
from hookd.config import Config, ConfigError, Problem
from hookd.credentials import Secret, read_secrets, secret_file
from hookd.http_probe import open_connection, parse_address
from hookd.model.app import App
from hookd.queue.published import read_status

_SECONDS: Final = 10


class RefUpdate(NamedTuple):
    """A ref with its old and new commit, as git gives them to a post-receive hook."""

    before: str
    after: str
    ref: str


@click.command(epilog="Example: hookd send shop --wait")
@common.app_argument
@click.option("--post-receive", is_flag=True, help="Read `old new ref` lines from stdin, as a git hook does.")
@click.option("--wait/--no-wait", default=False, show_default=True, help="Wait for the deployment and show its steps.")
@common.json_option
@common.needs_config
def send(config: Config, app: str, post_receive: bool, wait: bool, as_json: bool) -> None:
    """Send the receiver a signed push, as the git host does."""
    known = common.find_app(config.catalogue, app)
    secret = _read_secret(config, known)
    updates = _read_updates(app) if post_receive else [_test_update(config, known)]
    answers = [_send(config, known, secret, update) for update in updates]
    if as_json:
        click.echo(json.dumps(answers if post_receive else answers[0], indent=2))
        return
    for answer in answers:
        common.print_line(f"{answer['status']}: {_describe(answer, config)}")
    deployments = [answer["deployment"] for answer in answers if "deployment" in answer]
    if wait and deployments:
        show_and_exit(config, common.open_store(config), deployments[-1], wait=True, as_json=False)


def _describe(answer: dict[str, Any], config: Config) -> str:
    if "deployment" not in answer:
        return str(answer["reason"])
    return "  ".join([answer["deployment"], *([answer["status_url"]] if config.settings.receiver.public_url else [])])


def _read_secret(config: Config, app: App) -> Secret:
    """Return the app's newest secret, or end the command."""
    problems: list[Problem] = []
    file = secret_file(config.settings.receiver.secrets, app.name)
    found = read_secrets(file, problems)
    if not problems:
        return found[-1]
    if problems[0].denied:
        raise ConfigError(problems)
    if config.is_server:
        return common.fail(str(problems[0]), hint=f"sudo hookd secret rotate {app.name}")
    place = shlex.quote(str(file))
    text = f"{problems[0]}, and the receiver reads a new one only when it starts"
    return common.fail(text, hint=f"(umask 077 && openssl rand -hex 32 > {place})")


def _read_updates(app: str) -> list[RefUpdate]:
    """Read the lines that git gives to a post-receive hook, or end the command."""
    rows = [line.split() for line in sys.stdin]
    if not rows or any(len(row) != 3 for row in rows):
        common.fail("the input has no lines `old new ref`, as git writes them", hint=f"hookd send {app}")
    return [RefUpdate(*row) for row in rows]


def _test_update(config: Config, app: App) -> RefUpdate:
    """Return a push to the known head, else to a random commit: the worker fetches the real head."""
    head = read_status(common.open_store(config).connection, app.name).head
    return RefUpdate("0" * 40, head or secrets.token_hex(20), app.ref)


def _send(config: Config, app: App, secret: Secret, update: RefUpdate) -> dict[str, Any]:
    """Send a push to the receiver and return its answer. The push events of all senders have these fields.

    The delivery id makes the payload unique. Otherwise a second push between the same commits would be a duplicate.
    """
    delivery = str(uuid.uuid4())
    about = {"repository": {"full_name": app.full_name}, "pusher": {"login": "hookd-send"}, "delivery": delivery}
    body = json.dumps({**update._asdict(), **about}).encode()
    bind = config.settings.receiver.bind
    try:
        with closing(open_connection(parse_address(bind), _SECONDS)) as connection:
            connection.request("POST", f"/hooks/{app.name}", body, _headers(app, secret, delivery, body))
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        hint = start_command("serve", config)
        common.fail(f"the receiver at {bind} does not answer: {error}", hint=hint, status=common.UNREACHABLE)
    if response.status >= 400:
        why = f"hookd why {app.name}"
        if response.status == HTTPStatus.UNAUTHORIZED:
            why = f"{'sudo ' if config.is_server else ''}{why} --refused"
        common.fail(f"the receiver answered {response.status}: {answer.get('error')}", hint=why, status=1)
    return answer


def _headers(app: App, secret: Secret, delivery: str, body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        app.sender.event: "push",
        app.sender.delivery: delivery,
        app.sender.signature: app.sender.prefix + hmac.new(secret.reveal(), body, "sha256").hexdigest(),
    }
