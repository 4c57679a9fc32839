"""`hookd doctor` and `hookd permissions`: the faults of this server, and the commands that fix them."""

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path

import click

from hookd.cli import common
from hookd.config import Config, ConfigError, config_path, load_valid_apps
from hookd.files.policies import OwnershipError
from units.apps.permissions import check_permissions
from units.doctor.run import run_doctor

UNKNOWN = 3


@click.command(epilog="Example: sudo hookd doctor shop --quiet")
@common.optional_app_argument
@click.option("--quiet", "-q", is_flag=True, help="Show problems only.")
@common.json_option
def doctor(app: str | None, quiet: bool, as_json: bool) -> None:
    """Check this server and its apps, or the server and one app.

    The exit status is for monitoring: 0 ok, 1 warnings, 2 errors, 3 a check could not run.
    """
    path = config_path(click.get_current_context().find_root().obj)
    if app is not None:
        _require_app(path, app)
    report = run_doctor(path, app)
    if as_json:
        click.echo(report.as_json())
    else:
        report.show(quiet=quiet)
    sys.exit(report.exit_status)


def _require_app(path: Path, app: str) -> None:
    """End the command unless the catalogue has a file of the app, valid or not."""
    with suppress(ConfigError):  # The doctor reports it.
        names = load_valid_apps(path)[0].app_names()
        if app not in names:
            common.fail_unknown_app(app, names)


@click.command(epilog="Example: sudo hookd permissions shop --fix")
@common.app_argument
@click.option("--fix", is_flag=True, help="Repair the files that this user may change.")
@common.json_option
@common.needs_config
def permissions(config: Config, app: str, fix: bool, as_json: bool) -> None:
    """Compare the owners and modes of an app's files with its policy."""
    known = common.find_app(config.catalogue, app)
    if not common.is_server(config):
        text = f"{config.path} is not a server's, so its apps have no policy"
        common.fail(text, hint=shlex.join(("ls", "-la", str(known.root))), status=UNKNOWN)
    try:
        report = check_permissions(known, config.settings, fix=fix)
    except OwnershipError as error:
        common.fail(error.cause, hint=error.hint, status=UNKNOWN)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.exit_status)
