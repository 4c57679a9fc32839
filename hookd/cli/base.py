"""What every command shares: the group, the configuration, and how a mistake becomes a sentence, not a traceback."""

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError
from rich.console import Console

from hookd import __version__
from hookd.cli import launch
from hookd.cli import send as sending
from hookd.contract.catalogue import App
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


def records_of(config: Config, *, reads: bool = True) -> Records:
    user = person(config, reads=reads)
    return Records(for_person(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def app_of(config: Config, name: str) -> App:
    """Find an app, or end the command."""
    app = config.catalogue.get(name)
    if app is None:
        known = ", ".join(app.name for app in config.catalogue.apps) or "none"
        stop(f"there is no app {name!r} in the catalogue; there are: {known}")
    return app


waits = click.option("--wait/--no-wait", default=True, help="Stay until it has ended and show its steps.")
as_json = click.option("--json", "json_output", is_flag=True, help="Print one JSON document, for scripts.")
