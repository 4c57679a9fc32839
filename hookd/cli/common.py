"""Shared parts of all commands: messages, the configuration, the Redis client, and arguments."""

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError

from hookd.config import DEFAULT, INSTALLED, Config, ConfigError, config_path, load
from hookd.credentials import PasswordUnreadable, cli_user
from hookd.model.app import App, Catalogue
from hookd.model.text import printable
from hookd.queue.client import cli_client
from hookd.queue.deployments import Contention, DeploymentStore
from hookd.queue.published import AppStatus, AppStatusStore

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
    files = dict.fromkeys(problem.file for problem in error.problems if problem.file.endswith(".toml"))
    editor = "sudoedit" if all(file.startswith("/etc/") for file in files) else "edit"
    number = len(error.problems)
    fail(
        f"the configuration has {number} problem{'' if number == 1 else 's'}{lines}",
        hint=f"{editor} {shlex.join(files)}" if files else None,
    )


def sudo_command() -> str:
    """Return the command line that was typed, with sudo."""
    return shlex.join(["sudo", "hookd", *sys.argv[1:]])


_NO_CONFIG_HINT: Final = "hookd demo, or name a file: --config FILE or HOOKD_CONFIG"
_UNITS: Final = {"redis": "hookd-redis.service", "serve": "hookd.service", "worker": "hookd-worker@1.service"}


def is_server(config: Config) -> bool:
    """Return True on a host that `hookd setup` made: there Redis asks for passwords."""
    return config.settings.redis.passwords is not None


def start_command(program: str, config: Config) -> str:
    """Return the command that starts one of hookd's programs, such as `hookd redis`."""
    return f"sudo systemctl restart {_UNITS[program]}" if is_server(config) else f"hookd {program}"


def needs_config(command: Command) -> Command:
    """Pass the configuration to a command as its first argument, and turn Redis' errors into messages."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            is_new_server = path == DEFAULT and INSTALLED.exists()
            hint = "sudo hookd setup --domain deploy.example.org" if is_new_server else _NO_CONFIG_HINT
            fail(f"there is no configuration at {path}", hint=hint)
        config = load(path)
        try:
            return command(config, **options)
        except PasswordUnreadable:
            fail("you may not read the Redis password", hint=sudo_command())
        except AuthenticationError as error:
            hint = "check redis.passwords in hookd.toml"
            fail(f"Redis rejected hookd's password: {error}", hint=hint, status=UNREACHABLE)
        except (RedisError, Contention) as error:
            fail(f"Redis cannot be reached: {error}", hint=start_command("redis", config), status=UNREACHABLE)

    return with_config


def open_store(config: Config, *, reads: bool = True) -> DeploymentStore:
    """Connect to Redis as the operator. Commands that only read may use the status user."""
    user = cli_user(config, reads=reads)
    return DeploymentStore(cli_client(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def read_status(store: DeploymentStore, app: App) -> AppStatus:
    return AppStatusStore(store.connection).read(app.name)


def find_app(catalogue: Catalogue, name: str) -> App:
    """Return an app of the catalogue, or end the command."""
    if app := catalogue.get(name):
        return app
    names = ", ".join(app.name for app in catalogue.apps)
    fail(f"there is no app {name!r}, there are: {names or 'none'}", hint="hookd status")


def complete_app(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete an app's name in the shell. A configuration that cannot be read completes nothing."""
    with suppress(ConfigError, OSError):
        apps = load(config_path(context.find_root().params.get("path"))).catalogue.apps
        return [app.name for app in apps if app.name.startswith(incomplete)]
    return []


app_argument = click.argument("app", shell_complete=complete_app)
optional_app_argument = click.argument("app", required=False, shell_complete=complete_app)
wait_option = click.option("--wait/--no-wait", default=True, help="Wait for the deployment and show its steps.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
