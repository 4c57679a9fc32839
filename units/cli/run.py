"""`hookd run`: runs a command as an app, at a terminal or in a script."""

import sys
import time
from typing import Final, NoReturn

import click

from hookd.cli.common import app_argument, fail, find_app, needs_config
from hookd.cli.person import current_user, log_decision
from hookd.config import Config
from hookd.model.app import App
from hookd.model.decision import Verdict
from hookd.model.text import printable
from units.apps.running.command import prepare_run, run_command, run_timer
from units.cli.common import requires_root

# As of timeout(1).
_TIMED_OUT: Final = 124


@click.command(
    context_settings={"allow_interspersed_args": False}, epilog="Example: sudo hookd run shop -- flask shell"
)
@click.option("--seconds", type=click.IntRange(1), default=86_400, show_default=True, help="Longest run.")
@app_argument
@click.option("--timer", metavar="NAME", help="Run the command of this timer now, in place of COMMAND.")
@click.argument("command", nargs=-1, metavar="[COMMAND [ARGS]...]", type=click.UNPROCESSED)
@requires_root
@needs_config
def run(config: Config, app: str, command: tuple[str, ...], seconds: int, timer: str | None) -> None:
    """Run a command as the app, in the release that serves.

    It has the app's user, sandbox and variables. The exit status is the command's.
    """
    known = find_app(config.catalogue, app)
    if command[:1] == ("--timer",) and len(command) == 2:  # As a person types it, behind the app.
        timer, command = command[1], ()
    if timer is not None:
        _run_timer(config, known, timer, command)
    if not command:
        fail("the command is missing", hint=f"sudo hookd run {app} -- flask shell")
    argv = command[1:] if command[0] == "--" else command
    if not argv or argv[0].startswith("-"):
        fail("the command is missing", hint=f"sudo hookd run {app} -- flask shell")
    properties = prepare_run(known, config.settings, argv, seconds)
    log_decision(config, app, Verdict.RAN, f"{current_user()} ran {argv[0]}")
    started = time.monotonic()
    status = run_command(known, properties, argv)
    if status and time.monotonic() - started >= seconds:
        fail(f"{argv[0]} ran longer than {seconds} s and was ended", hint="hookd run --help", status=_TIMED_OUT)
    sys.exit(status)


def _run_timer(config: Config, app: App, name: str, command: tuple[str, ...]) -> NoReturn:
    if name not in app.timers or command:
        names = ", ".join(app.timers) or "none"
        why = "a timer has its own command" if command else f"{app.name} has no timer {name!r}, there are: {names}"
        fail(why, hint=f"hookd status {app.name}")
    log_decision(config, app.name, Verdict.RAN, f"{current_user()} ran the timer {name}")
    status, output = run_timer(app, config.settings, name)
    click.echo(printable(output, keep="\n\t"), nl=False)
    sys.exit(status)
