"""Shared parts of all commands: messages, the configuration, the Redis client, and arguments."""

import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from hookd import freezes
from hookd.commands import edit_command, start_command, up_command
from hookd.config import (
    DEFAULT,
    INSTALLED,
    WRONG_NAME,
    Config,
    ConfigError,
    Problem,
    config_path,
    load,
    own_configs,
)
from hookd.credentials import PasswordUnreadable, cli_user
from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.decision import Freeze
from hookd.model.ids import app_of, is_app
from hookd.model.text import printable
from hookd.queue.client import cli_client, is_denied, no_answer
from hookd.queue.deployments import Contention, DeploymentStore

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
Command = Callable[..., Any]
# Parameters of commands that name an app, or one of its deployments.
_APP_PARAMETERS: Final = ("app", "deployment", "apps")
# A call of hookd at the start of a command line, or after another command.
_HOOKD: Final = re.compile(r"(?:^|; )(?:sudo )?hookd (?!-)")
_OWN_HOOKD: Final = re.compile(r"(^|; )hookd ")
# The script by which a person started hookd, because `hookd` may not be on the PATH.
_SCRIPT: Final = "HOOKD_TYPED"


def print_line(text: str, *, err: bool = False, **style: Any) -> None:
    """Print a text. Control characters in names and messages of others are escaped."""
    click.secho(printable(text, keep="\n\t"), err=err, **style)


def styled(text: str, **style: Any) -> str:
    """Return a part of a line in a style. Control characters and line ends are escaped."""
    return click.style(printable(text), **style)


def print_next(command: str) -> None:
    """Print the next command to type."""
    click.echo(f"  next: {styled(keep_config(command), bold=True)}")


def fail(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a message and the next command to type."""
    print_line(f"hookd: {message}", err=True)
    if hint:
        print_line(f"  next: {keep_config(hint)}", err=True)
    sys.exit(status)


def keep_config(command: str) -> str:
    """Add a chosen configuration to a command of hookd: the typed one, or $HOOKD_CONFIG, which sudo drops.

    A person who started hookd by the script `run` types the next command in the same form.
    """
    context = click.get_current_context(silent=True)
    typed = context.find_root().obj if context else None
    path = config_path(typed) if typed or command.startswith("sudo ") else DEFAULT
    option = "" if path == DEFAULT else f"--config {shlex.quote(str(path))} "
    command = _HOOKD.sub(lambda found: found[0] + option, command) if option else command
    script = os.environ.get(_SCRIPT)
    return _OWN_HOOKD.sub(rf"\1{shlex.quote(script)} hookd ", command) if script else command


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
    if problems[0].text == WRONG_NAME:
        file = Path(problems[0].file)
        name = file.stem.lower() if is_app(file.stem.lower()) else "NAME"
        sudo = ("sudo",) if file.is_relative_to("/etc") else ()
        return shlex.join((*sudo, "mv", str(file), str(file.with_name(f"{name}.toml"))))
    files = list(dict.fromkeys(file for problem in problems for file in problem.files or (problem.file,)))
    return edit_command(*filter(os.path.isfile, files)) or shlex.join(("ls", "-ld", *files))


# User and password of a URL, or a token. The user of ssh alone is no secret.
_CREDENTIALS: Final = re.compile(r"://[^/]*:.*@|(?<!ssh)://.*@")


def sudo_command() -> str:
    """Return the typed command line with sudo. It lacks the configuration, and is not repeated with credentials."""
    typed, words = iter(sys.argv[1:]), []
    for word in typed:
        if word == "--config":
            next(typed, None)
        elif not word.startswith("--config="):
            words.append(word)
    if any(map(_CREDENTIALS.search, words)):
        return "sudo hookd --help"
    return shlex.join(["sudo", "hookd", *words])


def needs_config(command: Command) -> Command:
    """Pass the configuration to a command as its first argument, and turn Redis' errors into messages."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = typed_config()
        if not path.exists():
            hint = shlex.join(("ls", "-ld", str(path)))
            if path == DEFAULT:
                hint = "sudo hookd setup --domain deploy.example.org" if INSTALLED.exists() else "sudo ./run install"
            fail(f"there is no configuration at {path} (set HOOKD_CONFIG or --config)", hint=hint)
        config = load(path)
        try:
            return command(config, **options)
        except PasswordUnreadable:
            fail("you may not read the Redis password", hint=sudo_command())
        except (RedisError, Contention) as error:
            fail_redis(error, config)

    return with_config


def typed_config() -> Path:
    """Return the configuration of this command. `hookd up` makes one per app, so the app of the command chooses.

    End the command if several fit.
    """
    context = click.get_current_context()
    given, app = context.find_root().obj, typed_app(context)
    path = config_path(given, app=app)
    if given is None and path == DEFAULT and not path.exists() and (own := own_configs()):
        names = [config.parent.name for config in own]
        takes_app = any(parameter.name in _APP_PARAMETERS for parameter in context.command.params)
        again = f"{context.command_path} {names[0]}" if takes_app else f"hookd --config {own[0]} {context.info_name}"
        missing = f"there is no app {app!r}, there are" if app else "there are several apps"
        fail(f"{missing}: {', '.join(names)}", hint=again)
    return path


def typed_app(context: click.Context) -> str:
    """Return the app that a command names, or the app of a deployment that it names, or ""."""
    typed = next((context.params[name] for name in _APP_PARAMETERS if context.params.get(name)), "")
    text = str(typed[0] if isinstance(typed, tuple) else typed)
    with suppress(ValueError):
        return app_of(text)
    return text


def fail_redis(error: RedisError | Contention, config: Config) -> NoReturn:
    """End the command with an error of Redis."""
    text, hint = describe_redis_error(error, config)
    fail(text, hint=hint, status=UNREACHABLE)


def describe_redis_error(error: RedisError | Contention, config: Config) -> tuple[str, str]:
    """Return the cause of an error of Redis, and the next command."""
    text, hint = f"Redis refused a command: {error}", "sudo hookd doctor"
    match error:
        case AuthenticationError():
            text = "Redis rejected hookd's password"
            hint = hint if config.is_server else edit_command(str(config.path))
        case RedisError() if is_denied(error):
            text, hint = "you may not use Redis", sudo_command()
        case TimeoutError():
            text = no_answer(config.settings.redis.url)
            hint = start_command("redis", config) if config.is_server else "pgrep -fl 'redis|valkey'"
        case ConnectionError() if config.is_own:
            text, hint = f"{config.path.parent.name} is stopped", up_command(config)
        case ConnectionError():
            text, hint = no_answer(config.settings.redis.url), start_command("redis", config)
    return text, hint


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


def fail_unknown_app(name: str, known: list[str], noun: str = "app") -> NoReturn:
    """End the command with the names of all apps. It found no `noun` of that name."""
    names = f"there are: {', '.join(known)}" if known else "there is none yet"
    fail(f"there is no {noun} {name!r}, {names}", hint="hookd status")


def complete_app(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete an app's name in the shell. A configuration that cannot be read completes nothing."""
    with suppress(ConfigError, OSError):
        path = config_path(context.find_root().params.get("path"))
        own = [config.parent.name for config in own_configs()] if path == DEFAULT and not path.exists() else None
        names = [app.name for app in load(path).catalogue.apps] if own is None else own
        return [name for name in names if name.startswith(incomplete)]
    return []


app_argument = click.argument("app", shell_complete=complete_app)
optional_app_argument = click.argument("app", required=False, shell_complete=complete_app)
wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait for the deployment and show its steps."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
