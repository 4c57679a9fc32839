"""`hookd setup`, `certify`, `uninstall`, `start`, `stop`, `restart`, `secret`: the host, its services and secrets."""

import sys
from collections.abc import Callable

import click

from hookd.cli.common import app_argument, fail, find_app, print_line, print_next
from hookd.model.app import App
from units.apps import secrets
from units.apps.running import services
from units.cli.common import (
    FAILED,
    dry_run_option,
    host_lock,
    load_server,
    require_setup,
    requires_root,
    yes_option,
)
from units.system import layout


@click.command(epilog="Example: sudo hookd setup --domain deploy.example.org")
@click.option("--domain", help="The receiver's host name, for git hosts, stored for later.")
@click.option("--tls", metavar="MAIL", help="HTTPS with Let's Encrypt, whose terms you accept by this. Stored.")
@yes_option
@dry_run_option
@requires_root
def setup(domain: str | None, tls: str | None, yes: bool, dry_run: bool) -> None:
    """Make this host a server, or update it.

    Creates users, a Redis, the receiver, workers and nginx sites. A repetition changes only what differs.
    """
    from units.apps.manage import reapply
    from units.host import certbot
    from units.setup import certify, check_host, set_up

    host, _ = check_host(domain, tls)  # Before the lock, because a refusal changes nothing.
    needs_certbot = host.tls_mail is not None and not certbot.is_installed()
    if needs_certbot and not dry_run and not yes:
        click.confirm("Install Debian's package certbot, which obtains and renews certificates?", abort=True)
    with host_lock(dry_run=dry_run):
        if needs_certbot:
            print_line("+ package    certbot")
        if needs_certbot and not dry_run:
            certbot.install()
        set_up(domain, tls, print_line, dry_run=dry_run)
        reapply(load_server(), print_line, dry_run=dry_run)
        if not dry_run:
            certify(load_server(), print_line)


@click.command(epilog="Example: sudo hookd certify")
@requires_root
def certify() -> None:
    """Obtain missing certificates, and serve their sites by HTTPS."""
    from units.setup import certify as obtain_missing

    require_setup()
    with host_lock() as server:
        is_complete = obtain_missing(server, print_line)
    sys.exit(0 if is_complete else FAILED)


@click.command(epilog="Example: sudo hookd uninstall --dry-run")
@yes_option
@dry_run_option
@requires_root
def uninstall(yes: bool, dry_run: bool) -> None:
    """Remove hookd, but keep releases, data and variables."""
    from units.adopt.execute import undo_adoption
    from units.uninstall import all_user_variables
    from units.uninstall import uninstall as remove_hookd

    if not dry_run and not yes:
        click.confirm("Stop all apps of hookd and remove hookd from this host?", abort=True)
    with host_lock(dry_run=dry_run) as server:
        variables = all_user_variables()
        apps = [
            undo_adoption(app, server.host, server.manifest, print_line, dry_run=dry_run)
            for app in server.catalogue.apps
        ]
        remove_hookd(server, apps, variables, print_line, dry_run=dry_run)


def _service_command(name: str, text: str, action: Callable[[App], None]) -> click.Command:
    @click.command(name, help=text, epilog=f"Example: sudo hookd {name} shop")
    @app_argument
    @requires_root
    def command(app: str) -> None:
        known = _find_app(app)
        action(known)
        _print_units(known)

    return command


start = _service_command("start", "Start an app's sockets and its current release.", services.start)
stop = _service_command("stop", "Stop an app and close its sockets.", services.stop)


@click.command(epilog="Example: sudo hookd restart shop worker")
@app_argument
@click.argument("process", required=False)
@requires_root
def restart(app: str, process: str | None) -> None:
    """Restart an app, or all its processes of one kind."""
    known = _find_app(app)
    if process is None:
        services.restart(known)
    elif process in known.processes:
        services.restart_process(known, process)
    else:
        names = ", ".join(known.processes) or "none"
        fail(f"{app} has no process {process!r}, there are: {names}", hint=f"hookd status {app}")
    _print_units(known)


def _print_units(app: App) -> None:
    for unit in services.unit_states(app):
        print_line(str(unit))


def _find_app(name: str) -> App:
    require_setup()
    return find_app(load_server().catalogue, name)


@click.group(epilog="Example: sudo hookd secret rotate shop")
def secret() -> None:
    """Show or rotate an app's webhook secret."""


@secret.command("show", epilog="Example: sudo hookd secret show shop")
@app_argument
@requires_root
def show_secret(app: str) -> None:
    """Print the secret, or the new one during a rotation."""
    print_line(secrets.current(_find_app(app).name)[-1])


@secret.command(epilog="Example: sudo hookd secret rotate shop --finish")
@app_argument
@click.option("--finish", is_flag=True, help="Remove the old secret.")
@requires_root
def rotate(app: str, finish: bool) -> None:
    """Make a new secret, and keep the old one until --finish."""
    require_setup()
    with host_lock() as server:
        find_app(server.catalogue, app)
        if finish:
            secrets.finish(app, server.manifest)
            print_line(f"only the newest secret of {app} is valid now")
            return
        fresh = secrets.rotate(app, server.manifest)
    print_line(f"new secret: {fresh}\n  both secrets are valid, in {layout.app_secret(app)}")
    print_line("  paste the new one at the git host")
    print_next(f"sudo hookd secret rotate {app} --finish")
