"""`hookd env`: lists, shows, sets and unsets the variables of an app or of its builds."""

import sys
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from hookd.cli.common import Command, app_argument, fail, find_app, needs_config, print_line, print_next
from hookd.cli.person import current_user, log_decision
from hookd.commands import edit_command
from hookd.config import Config
from hookd.model.app import App
from hookd.model.decision import Verdict
from hookd.model.text import printable
from hookd.variables import MAX_BYTES
from units.apps.environment import check_name, read_variables, set_variable, unset_variable, variables_file
from units.apps.running import services
from units.cli.common import host_lock, refuse_own_app, requires_root, retry_failed

# A longer value is refused.
_MAX_READ: Final = MAX_BYTES + 3


@dataclass(frozen=True)
class _Variables:
    """The variables of an app, or of its builds, and their file."""

    config: Config
    app: App
    file: Path
    of_build: bool


def _needs_variables(command: Command) -> Command:
    """Pass the file of the typed app to a command of root's. Without systemd it is a file of the user who deploys."""

    @app_argument
    @click.option("--build", is_flag=True, help="The variables of its builds.")
    @needs_config
    @wraps(command)
    def with_variables(config: Config, app: str, build: bool, **options: Any) -> None:
        known = find_app(config.catalogue, app)
        refuse_own_app()
        if not known.uses_systemd:
            _refuse(config, known, build=build)

        @requires_root
        def run() -> None:
            command(_Variables(config, known, variables_file(known, build=build), build), **options)

        run()

    return with_variables


def _refuse(config: Config, app: App, *, build: bool) -> NoReturn:
    file = app.build.environment_file if build else app.service.environment_file
    hint = edit_command(str(file or config.apps / f"{app.name}.toml"))
    fail(f"{app.name} is run by {app.service.manager}, edit its variables yourself", hint=hint)


_key_argument = click.argument("key")
_restart_option = click.option("--restart", is_flag=True, help="Restart the app, and do not ask.")


@click.group(epilog="Example: sudo hookd env set shop DATABASE_URL")
def env() -> None:
    """List, get, set or unset the variables of an app."""


@env.command("list", epilog="Example: sudo hookd env list shop")
@_needs_variables
def list_names(variables: _Variables) -> None:
    """Print the names of the variables, and no value."""
    names = list(read_variables(variables.file))
    for name in names:
        print_line(name)
    if not names:
        print_line(f"hookd: {variables.file} has no variables", err=True)


@env.command("get", epilog="Example: sudo hookd env get shop DATABASE_URL")
@_needs_variables
@_key_argument
def get(variables: _Variables, key: str) -> None:
    """Print the value of a variable."""
    value = read_variables(variables.file).get(key)
    if value is None:
        _fail_missing(variables, key)
    click.echo(printable(value, keep="\n\t") if sys.stdout.isatty() else value)


@env.command("set", epilog="Example: sudo hookd env set shop DATABASE_URL")
@_needs_variables
@_key_argument
@click.option(
    "--from-file",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The file with the value, default: ask for it, or read the standard input.",
)
@_restart_option
def set_value(variables: _Variables, key: str, source: Path | None, restart: bool) -> None:
    """Set a variable to a value that is not shown."""
    _refuse_restart_of_builds(variables, restart=restart)
    check_name(variables.file, key)
    value = _read_value(variables.app, key, source)
    with host_lock():
        is_changed = set_variable(variables.file, key, value)
    if is_changed:
        _finish(variables, f"set {key}", restart=restart)
    else:
        print_line(f"nothing was changed: {key} has this value")


@env.command(epilog="Example: sudo hookd env unset shop DATABASE_URL")
@_needs_variables
@_key_argument
@_restart_option
def unset(variables: _Variables, key: str, restart: bool) -> None:
    """Remove a variable."""
    _refuse_restart_of_builds(variables, restart=restart)
    with host_lock():
        is_changed = unset_variable(variables.file, key)
    if not is_changed:
        _fail_missing(variables, key)
    _finish(variables, f"unset {key}", restart=restart)


def _fail_missing(variables: _Variables, key: str) -> NoReturn:
    option = " --build" if variables.of_build else ""
    fail(f"there is no variable {key} in {variables.file}", hint=f"sudo hookd env list {variables.app.name}{option}")


def _refuse_restart_of_builds(variables: _Variables, *, restart: bool) -> None:
    if variables.of_build and restart:
        fail("a restart does not build, so --restart has no use here", hint="hookd env --help")


def _read_value(app: App, key: str, source: Path | None) -> bytes:
    """Read a value from a file, from a person who types unseen, or from the standard input."""
    if source:
        with source.open("rb") as file:
            return file.read(_MAX_READ)
    if sys.stdin.isatty():
        typed: str = click.prompt(f"{key} of {app.name}", default="", show_default=False, hide_input=True)
        return typed.encode("utf-8", "surrogateescape")
    return sys.stdin.buffer.read(_MAX_READ)


def _finish(variables: _Variables, what: str, *, restart: bool) -> None:
    """Record a change, and make it count: ask for a restart, or print the next command."""
    app, change = variables.app, f"{what} of the builds" if variables.of_build else what
    print_line(f"{app.name}: {change}")
    log_decision(variables.config, app.name, Verdict.CONFIGURED, f"{current_user()} {change}")
    is_retried, is_active = retry_failed(app), bool(services.active_services(app))
    if is_retried and (variables.of_build or not is_active):
        print_next(f"hookd logs {app.name} --follow")
    elif variables.of_build:
        print_next(f"sudo hookd deploy {app.name}")
    elif not is_active:
        print_next(f"sudo hookd start {app.name}")
    elif restart or (not is_retried and _is_terminal() and click.confirm(f"Restart {app.name} now?")):
        services.restart(app)
        for unit in services.unit_states(app):
            print_line(str(unit))
    else:
        print_next(f"sudo hookd restart {app.name}")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
