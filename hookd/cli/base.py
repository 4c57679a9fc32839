"""What every command shares: the configuration, and how a mistake becomes a sentence, not a traceback."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError
from rich.console import Console

from hookd.cli.terminal import harmless
from hookd.contract.catalogue import App, Catalogue
from hookd.store.config import Config, ConfigError, config_path, load
from hookd.store.connection import for_person
from hookd.store.credentials import NotForYou, person
from hookd.store.records import Contention, Records

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
Command = Callable[..., Any]
console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)


def stop(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a sentence and, if there is one, the next thing to type."""
    complaints.print(f"hookd: {harmless(message)}", markup=False, soft_wrap=True)
    if hint:
        complaints.print(f"  next: {harmless(hint)}", markup=False, soft_wrap=True)
    sys.exit(status)


@dataclass(frozen=True)
class Starts:
    """What to type so that a program of hookd's runs."""

    redis: str
    receiver: str
    worker: str


_BY_HAND: Final = Starts("hookd redis", "hookd serve", "hookd worker")
_BY_SYSTEMD: Final = Starts(
    "sudo systemctl restart hookd-redis.service",
    "sudo systemctl restart hookd.service",
    "sudo systemctl restart hookd-worker@1.service",
)


def how_to_start(config: Config) -> Starts:
    """Tell how programs are started here: by systemd where Redis asks for passwords, as `hookd setup` makes it."""
    return _BY_SYSTEMD if config.settings.redis.passwords else _BY_HAND


@contextmanager
def _redis_in_words(starts: Starts) -> Iterator[None]:
    try:
        yield
    except NotForYou:
        stop("Redis' password cannot be read by you", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    except AuthenticationError as error:
        stop(f"Redis does not let hookd in: {error}", hint="see redis.passwords in hookd.toml", status=UNREACHABLE)
    except (RedisError, Contention) as error:
        stop(f"Redis cannot be reached: {error}", hint=starts.redis, status=UNREACHABLE)


def in_words(command: Command) -> Command:
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

    return guarded


def _show_problems(error: ConfigError) -> NoReturn:
    complaints.print(f"hookd: the configuration has {len(error.problems)} problem(s)", markup=False)
    for problem in error.problems:
        complaints.print(f"  {harmless(str(problem))}", markup=False, soft_wrap=True)
    sys.exit(USAGE)


def configured(command: Command) -> Command:
    """Give a command the configuration."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            hint = "hookd --config FILE COMMAND, or set HOOKD_CONFIG; to look around first: hookd demo"
            stop(f"there is no configuration at {path}", hint=hint)
        config = load(path)
        with _redis_in_words(how_to_start(config)):
            return command(config, **options)

    return in_words(with_config)


def records_of(config: Config, *, reads: bool = True) -> Records:
    user = person(config, reads=reads)
    return Records(for_person(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def app_of(catalogue: Catalogue, name: str) -> App:
    """Find an app, or end the command."""
    app = catalogue.get(name)
    if app is None:
        known = ", ".join(app.name for app in catalogue.apps) or "none"
        stop(f"there is no app {name!r} in the catalogue; there are: {known}")
    return app


waits = click.option("--wait/--no-wait", default=True, help="Stay until it has ended and show its steps.")
as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON document, for scripts.")
