"""`hookd doctor` and `hookd permissions`: what is not as it should be on this server, and what mends it."""

import json
import sys

import click

from hookd.cli.common import as_json, console, fail_unknown_app, find_app, needs_config, report_errors, stop
from hookd.config import Config, config_path
from hookd.files.policies import OwnershipError
from units.apps.permissions import check_permissions as judge
from units.doctor import app_names, run_doctor

UNKNOWN = 3


@click.command()
@click.argument("app", required=False)
@click.option("--quiet", "-q", is_flag=True, help="Leave out what is well.")
@as_json
@report_errors
def doctor(app: str | None, quiet: bool, json_output: bool) -> None:
    """Look at everything that can be wrong with this server, or with it and APP. Changes nothing.

    The exit status is what monitoring expects: 0 all is well, 1 warnings, 2 errors, 3 something could not be looked at.
    """
    path = config_path(click.get_current_context().find_root().obj)
    names = app_names(path)
    if app is not None and names is not None and app not in names:
        fail_unknown_app(app, names)
    report = run_doctor(path, app)
    if json_output:
        click.echo(report.as_json())
    else:
        report.show(console, quiet=quiet)
    sys.exit(report.exit_status)


@click.command()
@click.argument("app")
@click.option("--fix", is_flag=True, help="Repair what you may; as root: everything but what only you can judge.")
@as_json
@needs_config
def permissions(config: Config, app: str, fix: bool, json_output: bool) -> None:
    """Compare the owners and modes of APP's files with its policy, file by file."""
    try:
        report = judge(find_app(config.catalogue, app), config.settings, fix=fix)
    except OwnershipError as error:
        stop(error.cause, hint=error.hint, status=UNKNOWN)
    if json_output:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.exit_status)


COMMANDS = (doctor, permissions)
