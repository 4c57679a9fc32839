"""Shared parts of all commands: messages, the configuration, the Redis client, and arguments."""

import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from hookd import freezes
from hookd.config import DEFAULT, INSTALLED, Config, ConfigError, Problem, config_path, load
from hookd.credentials import PasswordUnreadable, cli_user
from hookd.model.app import App, Catalogue
from hookd.model.decision import Freeze
from hookd.model.text import printable
from hookd.queue.client import cli_client, is_denied
from hookd.queue.deployments import Contention, DeploymentStore

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
Command = Callable[..., Any]


def print_line(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text. Control characters in names and messages of others are escaped."""
    click.secho(printable(text, keep="\n\t"), err=err, **style)


def styled(text: str, **style: Any) -> str:
    """Return a part of a line in a style. Control characters and line ends are escaped."""
    return click.style(printable(text), **style)


def print_next(command: str) -> None:
    """Print the next command to type."""
    click.echo(f"  next: {styled(command, bold=True)}")


def fail(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a message and the next command to type."""
    print_line(f"hookd: {message}", err=True)
    if hint:
        print_line(f"  next: {hint}", err=True)
    sys.exit(status)


def fail_config(error: ConfigError) -> NoReturn:
    """End the command with all problems of the configuration."""
    lines = "".join(f"\n  {problem}" for problem in error.problems)
    number = len(error.problems)
    text = f"the configuration has {number} problem{'' if number == 1 else 's'}{lines}"
    fail(text, hint=_config_hint(error.problems))


def _config_hint(problems: list[Problem]) -> str:
    """Return the command that reads, edits or shows the files."""
    if os.geteuid() != 0 and any(problem.denied for problem in problems):
        return sudo_command()
    files = list(dict.fromkeys(problem.file for problem in problems))
    return edit_command(*(file for file in files if file.endswith(".toml"))) or shlex.join(("ls", "-ld", *files))


def edit_command(*files: str) -> str:
    """Return the command that edits files, or "" without one."""
    editor = "sudoedit" if all(file.startswith("/etc/") for file in files) else "${EDITOR:-vi}"
    return f"{editor} {shlex.join(files)}" if files else ""


# User and password of a URL, or a token. The user of ssh alone is no secret.
_CREDENTIALS: Final = re.compile(r"://[^/]*:.*@|(?<!ssh)://.*@")


def sudo_command(*, keep_config: bool = True) -> str:
    """Return the command line that was typed, with sudo. One that holds credentials is not repeated."""
    typed, words = iter(sys.argv[1:]), []
    for word in typed:
        if word == "--config" and not keep_config:
            next(typed, None)
        elif keep_config or not word.startswith("--config="):
            words.append(word)
    if any(map(_CREDENTIALS.search, words)):
        return "sudo hookd --help"
    return shlex.join(["sudo", "hookd", *words])


_UNITS: Final = {"redis": "hookd-redis.service", "serve": "hookd.service", "worker": "hookd-worker@1.service"}


def is_server(config: Config) -> bool:
    """Return True on a host that `hookd setup` made: there Redis asks for passwords."""
    return config.settings.redis.passwords is not None


def start_command(program: str, config: Config) -> str:
    """Return the command that starts one of hookd's programs, such as `hookd redis`."""
    return f"sudo systemctl restart {_UNITS[program]}" if is_server(config) else f"hookd {program}"


def resume_command(config: Config) -> str:
    """Return the command that resumes a suspended queue."""
    command = f". {shlex.quote(str(config.settings.rq_environment))} && rq resume"
    as_worker = "sudo setsid --wait runuser -u manager -- sh -c "
    return as_worker + shlex.quote(command) if is_server(config) else command


def needs_config(command: Command) -> Command:
    """Pass the configuration to a command as its first argument, and turn Redis' errors into messages."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            is_new_server = path == DEFAULT and INSTALLED.exists()
            hint = "sudo hookd setup --domain deploy.example.org" if is_new_server else "hookd demo"
            fail(f"there is no configuration at {path} (set HOOKD_CONFIG or --config)", hint=hint)
        config = load(path)
        try:
            return command(config, **options)
        except PasswordUnreadable:
            fail("you may not read the Redis password", hint=sudo_command())
        except (RedisError, Contention) as error:
            fail_redis(error, config)

    return with_config


def fail_redis(error: RedisError | Contention, config: Config) -> NoReturn:
    """End the command with an error of Redis."""
    text, hint = f"Redis refused a command: {error}", "sudo hookd doctor"
    match error:
        case AuthenticationError():
            text = f"Redis rejected hookd's password: {error}"
            hint = hint if is_server(config) else edit_command(str(config.path))
        case RedisError() if is_denied(error):
            text, hint = "you may not use Redis", sudo_command()
        case TimeoutError():
            text = f"Redis accepts connections and does not answer: {error}"
            hint = start_command("redis", config) if is_server(config) else "pgrep -fl 'redis|valkey'"
        case ConnectionError():
            text, hint = f"Redis cannot be reached: {error}", start_command("redis", config)
    fail(text, hint=hint, status=UNREACHABLE)


def open_store(config: Config, *, reads: bool = True) -> DeploymentStore:
    """Connect to Redis as the operator. Commands that only read may use the status user."""
    user = cli_user(config, reads=reads)
    return DeploymentStore(cli_client(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def active_freeze(config: Config, app: App) -> Freeze | None:
    return freezes.active_freeze(config.freeze_directory, app.name, datetime.now(UTC))


def find_app(catalogue: Catalogue, name: str) -> App:
    """Return an app of the catalogue, or end the command."""
    if app := catalogue.get(name):
        return app
    return fail_unknown_app(name, [app.name for app in catalogue.apps])


def fail_unknown_app(name: str, known: list[str]) -> NoReturn:
    """End the command with the names of all apps."""
    fail(f"there is no app {name!r}, there are: {', '.join(known) or 'none'}", hint="hookd status")


def complete_app(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete an app's name in the shell. A configuration that cannot be read completes nothing."""
    with suppress(ConfigError, OSError):
        apps = load(config_path(context.find_root().params.get("path"))).catalogue.apps
        return [app.name for app in apps if app.name.startswith(incomplete)]
    return []


app_argument = click.argument("app", shell_complete=complete_app)
optional_app_argument = click.argument("app", required=False, shell_complete=complete_app)
wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait for the deployment and show its steps."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
