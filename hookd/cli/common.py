"""What every command shares: the configuration, and how a mistake becomes a sentence, not a traceback."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError
from rich.console import Console

from hookd.cli.safe_text import sanitize
from hookd.config import DEFAULT, INSTALLED, Config, ConfigError, config_path, load
from hookd.credentials import PasswordUnreadable, cli_user
from hookd.model.app import App, Catalogue
from hookd.queue.client import cli_client
from hookd.queue.deployments import Contention, DeploymentStore

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
# What a shell says of a program whose reader, `head` say, went away.
_NO_READER: Final = 141
Command = Callable[..., Any]
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def stop(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a sentence and, if there is one, the next thing to type."""
    error_console.print(f"hookd: {sanitize(message)}", markup=False, soft_wrap=True)
    if hint:
        error_console.print(f"  next: {sanitize(hint)}", markup=False, soft_wrap=True)
    sys.exit(status)


@dataclass(frozen=True)
class StartCommands:
    """What to type so that a program of hookd's runs."""

    redis: str
    receiver: str
    worker: str


_BY_HAND: Final = StartCommands("hookd redis", "hookd serve", "hookd worker")
_BY_SYSTEMD: Final = StartCommands(
    "sudo systemctl restart hookd-redis.service",
    "sudo systemctl restart hookd.service",
    "sudo systemctl restart hookd-worker@1.service",
)


def start_commands(config: Config) -> StartCommands:
    """Tell how programs are started here: by systemd where Redis asks for passwords, as `hookd setup` makes it."""
    return _BY_SYSTEMD if config.settings.redis.passwords else _BY_HAND


def add_app_hint(config: Config) -> str:
    """What to do when there is no app yet; on a server that `hookd setup` made, by a command."""
    if config.settings.redis.passwords:
        return "There is no app yet; next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git"
    return "The catalogue is empty: add a file <app>.toml to the apps directory."


@contextmanager
def _redis_in_words(starts: StartCommands) -> Iterator[None]:
    try:
        yield
    except PasswordUnreadable:
        stop("Redis' password cannot be read by you", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    except AuthenticationError as error:
        stop(f"Redis does not let hookd in: {error}", hint="see redis.passwords in hookd.toml", status=UNREACHABLE)
    except (RedisError, Contention) as error:
        stop(f"Redis cannot be reached: {error}", hint=starts.redis, status=UNREACHABLE)


def report_errors(command: Command) -> Command:
    """Turn the failures that people can mend into sentences."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            with _redis_in_words(_BY_HAND):
                return command(*arguments, **options)
        except ConfigError as error:
            _show_problems(error)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # What is still to be written out at the end goes nowhere, and needs no traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_NO_READER)

    return guarded


def _show_problems(error: ConfigError) -> NoReturn:
    number = len(error.problems)
    error_console.print(f"hookd: the configuration has {number} problem{'' if number == 1 else 's'}", markup=False)
    for problem in error.problems:
        error_console.print(f"  {sanitize(str(problem))}", markup=False, soft_wrap=True)
    files = dict.fromkeys(problem.file for problem in error.problems if problem.file.endswith(".toml"))
    if files:
        editor = "sudoedit" if all(file.startswith("/etc/") for file in files) else "mend"
        error_console.print(f"  next: {editor} {sanitize(shlex.join(files))}", markup=False, soft_wrap=True)
    sys.exit(USAGE)


def needs_config(command: Command) -> Command:
    """Give a command the configuration."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            stop(f"there is no configuration at {path}", hint=_how_to_configure(path))
        config = load(path)
        with _redis_in_words(start_commands(config)):
            return command(config, **options)

    return report_errors(with_config)


def _how_to_configure(path: Path) -> str:
    """The next thing to type; where `./run install` has put hookd, the host itself is to be set up."""
    if path == DEFAULT and INSTALLED.exists():
        return "sudo hookd setup --domain deploy.example.org (how your git host reaches this server)"
    return "hookd --config FILE COMMAND, or set HOOKD_CONFIG; to look around first: hookd demo"


def open_records(config: Config, *, reads: bool = True) -> DeploymentStore:
    user = cli_user(config, reads=reads)
    return DeploymentStore(cli_client(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def find_app(catalogue: Catalogue, name: str) -> App:
    """Find an app, or end the command."""
    app = catalogue.get(name)
    return app or fail_unknown_app(name, [app.name for app in catalogue.apps])


def fail_unknown_app(name: str, known: Iterable[str]) -> NoReturn:
    """End the command that names an app which is not there."""
    stop(f"there is no app {name!r} in the catalogue; there are: {', '.join(known) or 'none'}")


wait_option = click.option("--wait/--no-wait", default=True, help="Stay until it has ended and show its steps.")
as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON document, for scripts.")
