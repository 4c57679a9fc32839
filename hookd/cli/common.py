"""Shared parts of all commands: the configuration, the Redis client, arguments, and errors as messages."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from redis.exceptions import AuthenticationError, RedisError
from rich.console import Console
from rich.markup import escape

from hookd.config import DEFAULT, INSTALLED, Config, ConfigError, config_path, load
from hookd.credentials import PasswordUnreadable, cli_user
from hookd.model.app import App, Catalogue
from hookd.model.app_status import AppStatus
from hookd.model.text import printable
from hookd.queue.app_status import AppStatusStore
from hookd.queue.client import cli_client
from hookd.queue.deployments import Contention, DeploymentStore

USAGE, UNREACHABLE, INTERRUPTED = 2, 6, 130
# A shell's status for a program that wrote to a closed pipe, such as into `head`.
_BROKEN_PIPE: Final = 141
Command = Callable[..., Any]
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def fail(message: str, *, hint: str | None = None, status: int = USAGE) -> NoReturn:
    """End the command with a message and the next command to type."""
    print_error(f"hookd: {message}")
    if hint:
        print_error(f"  next: {hint}")
    sys.exit(status)


def print_error(text: str) -> None:
    """Print lines to standard error without wrapping them."""
    error_console.print(printable(text, keep="\n\t"), markup=False, soft_wrap=True)


def print_markup(text: str) -> None:
    """Print lines of rich's markup without wrapping them."""
    console.print(text, soft_wrap=True)


def safe_markup(text: str) -> str:
    """Escape control characters, line ends and rich's markup."""
    return escape(printable(text))


def sudo_command() -> str:
    """Return the command line that was typed, with sudo."""
    return shlex.join(["sudo", "hookd", *sys.argv[1:]])


_UNITS: Final = {"redis": "hookd-redis.service", "serve": "hookd.service", "worker": "hookd-worker@1.service"}


def is_server(config: Config) -> bool:
    """Return True on a host that `hookd setup` made: there Redis asks for passwords."""
    return config.settings.redis.passwords is not None


def start_command(program: str, config: Config | None) -> str:
    """Return the command that starts one of hookd's programs, such as `hookd redis`."""
    return f"sudo systemctl restart {_UNITS[program]}" if config and is_server(config) else f"hookd {program}"


@contextmanager
def _report_redis_errors(config: Config | None) -> Iterator[None]:
    try:
        yield
    except PasswordUnreadable:
        fail("you may not read the Redis password", hint=sudo_command())
    except AuthenticationError as error:
        hint = "check redis.passwords in hookd.toml"
        fail(f"Redis rejected hookd's password: {error}", hint=hint, status=UNREACHABLE)
    except (RedisError, Contention) as error:
        fail(f"Redis cannot be reached: {error}", hint=start_command("redis", config), status=UNREACHABLE)


def report_errors(command: Command) -> Command:
    """Turn expected errors into messages."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            with _report_redis_errors(None):
                return command(*arguments, **options)
        except ConfigError as error:
            _fail_config(error)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Python flushes stdout at exit, and the closed pipe would cause a traceback there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_BROKEN_PIPE)

    return guarded


def _fail_config(error: ConfigError) -> NoReturn:
    lines = "".join(f"\n  {problem}" for problem in error.problems)
    files = dict.fromkeys(problem.file for problem in error.problems if problem.file.endswith(".toml"))
    editor = "sudoedit" if all(file.startswith("/etc/") for file in files) else "edit"
    number = len(error.problems)
    fail(
        f"the configuration has {number} problem{'' if number == 1 else 's'}{lines}",
        hint=f"{editor} {shlex.join(files)}" if files else None,
    )


def needs_config(command: Command) -> Command:
    """Pass the configuration to a command as its first argument."""

    @wraps(command)
    def with_config(**options: Any) -> Any:
        path = config_path(click.get_current_context().obj)
        if not path.exists():
            fail(f"there is no configuration at {path}", hint=_configuration_hint(path))
        config = load(path)
        with _report_redis_errors(config):
            return command(config, **options)

    return report_errors(with_config)


def _configuration_hint(path: Path) -> str:
    if path == DEFAULT and INSTALLED.exists():
        return "sudo hookd setup --domain deploy.example.org"
    return "hookd demo, or name a file: --config FILE or HOOKD_CONFIG"


def add_app_hint(config: Config) -> str:
    """Return the next step for a catalogue without apps."""
    if is_server(config):
        return "sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git"
    return "add a file NAME.toml to the apps directory"


def open_store(config: Config, *, reads: bool = True) -> DeploymentStore:
    """Connect to Redis as the operator. Commands that only read may use the status user."""
    user = cli_user(config, reads=reads)
    return DeploymentStore(cli_client(config.settings.redis.url, user), keep_seconds=config.settings.history_seconds)


def read_status(store: DeploymentStore, app: App) -> AppStatus:
    return AppStatusStore(store.connection).read(app.name)


def find_app(catalogue: Catalogue, name: str) -> App:
    """Return an app of the catalogue, or end the command."""
    return catalogue.get(name) or fail_unknown_app(name, [app.name for app in catalogue.apps])


def fail_unknown_app(name: str, known: Iterable[str]) -> NoReturn:
    fail(f"there is no app {name!r}, there are: {', '.join(known) or 'none'}", hint="hookd status")


def complete_app(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete an app's name in the shell. A configuration that cannot be read completes nothing."""
    try:
        apps = load(config_path(context.find_root().params.get("path"))).catalogue.apps
    except (ConfigError, OSError):
        return []
    return [app.name for app in apps if app.name.startswith(incomplete)]


app_argument = click.argument("app", shell_complete=complete_app)
optional_app_argument = click.argument("app", required=False, shell_complete=complete_app)
wait_option = click.option("--wait/--no-wait", default=True, help="Wait for the deployment and show its steps.")
json_option = click.option("--json", "json_output", is_flag=True, help="Print one JSON document.")
