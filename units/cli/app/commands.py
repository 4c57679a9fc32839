"""`hookd app`: add an app to this server, list and show apps, remove one."""

from datetime import UTC, datetime
from pathlib import Path

import click

from hookd import freezes
from hookd.cli.common import app_argument, find_app, print_line, print_next
from hookd.cli.main import LazyGroup
from units.adopt.execute import undo_adoption
from units.apps.manage import Server, is_partly_installed, remove
from units.apps.repository.git_access import make_deploy_key
from units.cli import common
from units.cli.app.shared import print_webhook_settings, read_app_file
from units.system import layout
from units.uninstall import user_variables


@click.group(
    cls=LazyGroup,
    modules={"add": "units.cli.app.add", "adopt": "units.cli.app.adopt", "edit": "units.cli.app.edit"},
    epilog="Example: sudo hookd app show shop",
)
def app() -> None:
    """Add, adopt, edit, list, show or remove apps."""


@app.command("list", epilog="Example: sudo hookd app list")
@common.requires_root
def list_apps() -> None:
    """List the apps of this server."""
    common.require_setup()
    apps = common.load_server().catalogue.apps
    if not apps:
        print_line("there is no app yet")
        print_next("sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git")
    for app in apps:
        print_line(f"{app.name:<20} {app.full_name} {app.branch}  {app.root}")
        if freeze := freezes.active_freeze(layout.FROZEN, app.name, datetime.now(UTC)):
            print_line(f"  {freeze}")


@app.command("show", epilog="Example: sudo hookd app show shop")
@app_argument
@common.requires_root
def show_app(app: str) -> None:
    """Print an app's file and its webhook settings."""
    common.require_setup()
    server = common.load_server()
    known = find_app(server.catalogue, app)
    print_line(read_app_file(known).rstrip())
    print_webhook_settings(server, known, make_deploy_key(app) if known.deploy_key else None)


@app.command("remove", epilog="Example: sudo hookd app remove shop --dry-run")
@app_argument
@common.yes_option
@common.dry_run_option
@common.requires_root
def remove_app(app: str, yes: bool, dry_run: bool) -> None:
    """Stop and remove an app, but keep its releases and data."""
    common.require_setup()
    server = common.load_server()
    if not is_partly_installed(server, app):
        find_app(server.catalogue, app)
    if not dry_run and not yes:
        click.confirm(f"Stop {app} and remove its units, secret and keys? Its data and variables stay.", abort=True)
    with common.host_lock(dry_run=dry_run) as server:
        for path in _remove(server, app, dry_run=dry_run):
            print_line(f"  stays: {path}")


def _remove(server: Server, name: str, *, dry_run: bool) -> list[Path]:
    variables = user_variables(name)
    app = None
    if not is_partly_installed(server, name):
        known = find_app(server.catalogue, name)
        app = undo_adoption(known, server.host, server.manifest, print_line, dry_run=dry_run)
    return remove(server, name, app, variables, print_line, dry_run=dry_run)
