"""What can be typed: `hookd COMMAND`; every mistake ends with a sentence and the next thing to type, no traceback."""

import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError
from rich.console import Console

from hookd import __version__
from hookd.cli import launch
from hookd.cli import send as sending
from hookd.cli.follow import EXIT_CODES, ending_line, follow
from hookd.cli.logs import NoLog, print_log
from hookd.cli.show import show_app, show_apps
from hookd.contract.catalogue import App
from hookd.contract.deployment import Deployment, Trigger
from hookd.contract.names import is_abbreviation, is_deployment
from hookd.secrets import Secret, read_secrets, secret_file
from hookd.status import status_url
from hookd.store.config import Config, ConfigError, config_path, load
from hookd.store.connection import for_person
from hookd.store.credentials import NotForYou, person
from hookd.store.records import Contention, NoSuchDeployment, Records, Request

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
Command = Callable[..., Any]
console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def stop(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a sentence and, if there is one, the next thing to type."""
    complaints.print(f"hookd: {message}", markup=False, soft_wrap=True)
    if hint:
        complaints.print(f"  next: {hint}", markup=False, soft_wrap=True)
    sys.exit(status)


def in_words(command: Command) -> Command:
    """Turn the failures that people can mend into sentences."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except ConfigError as error:
            _show_problems(error)
        except NotForYou:
            stop("Redis' password cannot be read by you", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
        except AuthenticationError as error:
            stop(f"Redis does not let hookd in: {error}", hint="see redis.passwords in hookd.toml", status=UNREACHABLE)
        except (RedisError, Contention) as error:
            stop(f"Redis cannot be reached: {error}", hint="hookd redis", status=UNREACHABLE)
        except (sending.SendError, launch.LaunchError) as error:
            stop(str(error), hint="hookd serve", status=UNREACHABLE)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return guarded


def _show_problems(error: ConfigError) -> NoReturn:
    complaints.print(f"hookd: the configuration has {len(error.problems)} problem(s)", markup=False)
    for problem in error.problems:
        complaints.print(f"  {problem}", markup=False, soft_wrap=True)
    sys.exit(USAGE)


class _Commands(click.Group):
    """All commands; those for a server, which need `units`, are only imported when one of them is meant.

    So neither the receiver nor a worker holds any of their code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        _add_server_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            _add_server_commands()
        return super().get_command(ctx, cmd_name)


def _add_server_commands() -> None:
    from hookd.cli import adopt, apps, look, server

    apps.app_group.add_command(adopt.adopt_app)
    for command in (*server.COMMANDS, *look.COMMANDS, apps.app_group):
        main.add_command(command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config", "path", type=click.Path(path_type=Path), help="hookd.toml; default: $HOOKD_CONFIG, /etc/hookd."
)
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """A git push becomes a running release on a plain Linux server."""
    context.obj = path


def configured(command: Command) -> Command:
    """Give a command the configuration."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            hint = "hookd --config FILE COMMAND, or set HOOKD_CONFIG; to look around first: hookd demo"
            stop(f"there is no configuration at {path}", hint=hint)
        return command(load(path), **options)

    return in_words(with_config)


def _records(config: Config, *, reads: bool = True) -> Records:
    user = person(config, reads=reads)
    return Records(for_person(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def app_of(config: Config, name: str) -> App:
    """Find an app, or end the command."""
    app = config.catalogue.get(name)
    if app is None:
        known = ", ".join(app.name for app in config.catalogue.apps) or "none"
        stop(f"there is no app {name!r} in the catalogue; there are: {known}")
    return app


@main.command()
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


@main.command()
@click.option("--name", help="The worker's name; default: made from host and process.")
@configured
def worker(config: Config, name: str | None) -> None:
    """Run one worker in the foreground."""
    url = config.settings.redis.url
    if not launch.redis_answers(url):
        complaints.print(f"hookd: waiting for Redis at {url}; next: hookd redis", markup=False, soft_wrap=True)
    launch.become_worker(config, name)


@main.command()
@configured
def redis(config: Config) -> None:
    """Run the embedded Redis server in the foreground."""
    launch.become_redis(config)


waits = click.option("--wait/--no-wait", default=True, help="Stay until it has ended and show its steps.")
as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON document, for scripts.")


@main.command()
@click.argument("app")
@click.option("--commit", help="Deploy this commit of the branch instead of its head, and stay there.")
@waits
@as_json
@configured
def deploy(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Bring APP to its branch's head, even if it is there already."""
    _ask(config, app, Trigger.MANUAL, commit, wait=wait, json_output=json_output)


@main.command()
@click.argument("app")
@waits
@as_json
@configured
def update(config: Config, app: str, wait: bool, json_output: bool) -> None:
    """Deploy what is new on APP's branch, as a push would; nothing happens when there is nothing new."""
    _ask(config, app, Trigger.UPDATE, None, wait=wait, json_output=json_output)


@main.command()
@click.argument("app")
@click.option("--to", "commit", help="The commit to go back to; default: the good release before the current one.")
@waits
@as_json
@configured
def rollback(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Bring APP back to an earlier release and stay there until a newer commit is pushed."""
    _ask(config, app, Trigger.ROLLBACK, commit, wait=wait, json_output=json_output)


def _ask(config: Config, name: str, trigger: Trigger, commit: str | None, *, wait: bool, json_output: bool) -> NoReturn:
    app = app_of(config, name)
    if commit is not None and not is_abbreviation(commit):
        stop(f"{commit!r} is no commit: 7 to 64 of the digits 0-9a-f", hint=f"git log --oneline origin/{app.branch}")
    records = _records(config, reads=False)
    request = Request(app=app.name, trigger=trigger, seconds=app.limits.deploy_seconds, pinned_commit=commit)
    _finish(config, records, records.request(request).deployment, wait=wait, json_output=json_output)


def _finish(config: Config, records: Records, deployment_id: str, *, wait: bool, json_output: bool) -> NoReturn:
    """Show a deployment as asked for and end with the status that says how it went."""
    try:
        record = _shown(config, records, deployment_id, wait=wait, json_output=json_output)
    except KeyboardInterrupt:
        stop(
            "no longer watching; the deployment goes on",
            hint=f"hookd logs {deployment_id} --follow",
            status=INTERRUPTED,
        )
    sys.exit(EXIT_CODES.get(record.status, 0))


def _shown(config: Config, records: Records, deployment_id: str, *, wait: bool, json_output: bool) -> Deployment:
    if json_output:
        record = _wait(records, deployment_id) if wait else records.get(deployment_id)
        click.echo(record.model_dump_json(indent=2))
        return record
    console.print(f"[bold]{deployment_id}[/]  {status_url(config, deployment_id)}", soft_wrap=True)
    if wait:
        return follow(records, deployment_id, console)
    return records.get(deployment_id)


def _wait(records: Records, deployment_id: str) -> Deployment:
    while not (record := records.get(deployment_id)).ended:
        time.sleep(0.1)
    return record


@main.command()
@click.argument("app", required=False)
@as_json
@configured
def status(config: Config, app: str | None, json_output: bool) -> None:
    """Show all apps, or one with its last deployments."""
    records = _records(config)
    apps = (app_of(config, app),) if app else config.catalogue.apps
    if json_output:
        shown = [
            {
                **records.view(one.name).model_dump(mode="json"),
                "deployments": [record.model_dump(mode="json") for record in records.history(one.name, 10)],
            }
            for one in apps
        ]
        click.echo(json.dumps(shown[0] if app else shown, indent=2))
    elif app:
        show_app(console, apps[0], records)
        _show_units(apps[0])
    else:
        show_apps(console, apps, records)


def _show_units(app: App) -> None:
    """Print how the app's units stand, where systemd runs them."""
    if app.service.manager != "systemd":
        return
    from units.run import CommandFailed
    from units.services import states

    with suppress(CommandFailed):
        for state in states(app):
            console.print(f"  {state}", markup=False, soft_wrap=True)


@main.command()
@click.argument("deployment")
@click.option("--follow", "-f", "keep_on", is_flag=True, help="Stay and print what is added, until it has ended.")
@configured
def logs(config: Config, deployment: str, keep_on: bool) -> None:
    """Print the log of DEPLOYMENT, an id, or of an app's last deployment when it is an app's name."""
    records = _records(config)
    record = _find(config, records, deployment)
    path = config.settings.log_path(record.app, record.id)
    try:
        record = print_log(path, records, record, keep_on=keep_on)
    except NoLog as error:
        stop(str(error), hint=f"hookd logs {record.id} --follow", status=1)
    except PermissionError:
        stop(f"{path} may not be read by you", hint="run the same as the worker's user")
    complaints.print(ending_line(record), soft_wrap=True)


def _find(config: Config, records: Records, text: str) -> Deployment:
    if config.catalogue.get(text) is not None:
        last = records.history(text, 1)
        return last[0] if last else stop(f"{text} has no deployment yet", hint=f"hookd deploy {text}")
    try:
        if is_deployment(text):
            return records.get(text)
    except NoSuchDeployment:
        pass
    stop(f"there is no deployment {text!r}", hint="hookd status APP")


@main.command()
@click.argument("app")
@click.option(
    "--post-receive", is_flag=True, help="Read `old new ref` lines from standard input, as a git hook gets them."
)
@click.option("--wait/--no-wait", default=False, help="Stay until the deployment has ended and show its steps.")
@as_json
@configured
def send(config: Config, app: str, post_receive: bool, wait: bool, json_output: bool) -> None:
    """Send the receiver a signed push of APP's branch, as the git host would."""
    known = app_of(config, app)
    problems: list[Any] = []
    found = read_secrets(secret_file(config.settings.receiver.secrets, known.name), problems)
    if problems:
        raise ConfigError(problems)
    moves = sending.read_moves(sys.stdin.readlines()) if post_receive else [_test_move(known, _records(config))]
    answers = [_send(config, known, found[-1], moved) for moved in moves]
    if json_output:
        click.echo(json.dumps(answers if post_receive else answers[0], indent=2))
        return
    for answer in answers:
        what = f"{answer['deployment']}  {answer['status_url']}" if "deployment" in answer else answer["reason"]
        console.print(f"{answer['status']}: {what}", markup=False, soft_wrap=True)
    deployments = [answer["deployment"] for answer in answers if "deployment" in answer]
    if wait and deployments:
        _finish(config, _records(config), deployments[-1], wait=True, json_output=False)


def _send(config: Config, app: App, secret: Secret, moved: sending.Moved) -> dict[str, Any]:
    code, answer = sending.send(config.settings.receiver.bind, app, secret, moved)
    if code >= 400:
        stop(f"the receiver answered {code}: {answer.get('error')}", status=1)
    return answer


def _test_move(app: App, records: Records) -> sending.Moved:
    """A push that never happened: the receiver takes it as a hint, and the worker looks where the branch really is."""
    head = records.view(app.name).head
    return sending.Moved("0" * 40, head or secrets.token_hex(20), app.ref)


@main.command()
@click.option("--once", is_flag=True, help="End after the three deployments instead of staying up.")
@click.option("--keep", is_flag=True, help="Leave the demo's directory behind.")
@in_words
def demo(once: bool, keep: bool) -> None:
    """Show the main job on this machine: a push goes live, a dependency changes, a broken commit is rolled back."""
    from hookd.demo.story import run_demo

    sys.exit(run_demo(console, once=once, keep=keep))
