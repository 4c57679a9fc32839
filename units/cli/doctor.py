"""`hookd doctor` and `hookd permissions`: the faults of this server, and the commands that fix them."""

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from hookd.cli import common
from hookd.config import Config, ConfigError, is_own, load_valid_apps
from hookd.files.ownership.policies import OwnershipError
from units.apps.permissions import check_permissions
from units.doctor.finding import Finding, Level
from units.doctor.report import Report
from units.doctor.run import run_doctor

UNKNOWN = 3
_COLOURS: Final = {Level.OK: "green", Level.UNKNOWN: "magenta", Level.WARNING: "yellow", Level.ERROR: "red"}
_WIDTH: Final = 9


@click.command(epilog="Example: sudo hookd doctor shop --quiet")
@common.optional_app_argument
@click.option("--quiet", "-q", is_flag=True, help="Show problems only.")
@common.json_option
def doctor(app: str | None, quiet: bool, as_json: bool) -> None:
    """Check this server and its apps, or the server and one app.

    The exit status is for monitoring: 0 ok, 1 warnings, 2 errors, 3 a check could not run.
    """
    path = common.typed_config()
    if app is not None:
        _require_app(path, app)
    report = run_doctor(path, app)
    if as_json:
        click.echo(report.as_json())
    else:
        show_report(report, quiet=quiet, sudo=not is_own(path))
    sys.exit(report.exit_status)


def show_report(report: Report, *, quiet: bool = False, sudo: bool = True) -> None:
    """Print a report. `quiet` omits passed checks. Without `sudo` the commands of hookd need no root."""
    click.secho(f"hookd: {report.summary()}", fg=_COLOURS[report.level])
    for finding in report.sorted():
        if not (quiet and finding.level is Level.OK):
            _print_finding(finding, sudo=sudo)


def _print_finding(finding: Finding, *, sudo: bool) -> None:
    level = click.style(f"{finding.level:{_WIDTH}}", _COLOURS[finding.level])
    title = click.style(f"{finding.app} {finding.check}" if finding.app else finding.check, bold=True)
    click.echo(f"{level}{title}: {finding.message}")
    if finding.hint:
        hint = finding.hint if sudo else finding.hint.replace("sudo hookd ", "hookd ")
        click.secho(f"{'':{_WIDTH}}next: {common.keep_config(hint)}", dim=True)


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
    if not config.is_server:
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
