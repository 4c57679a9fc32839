"""`hookd setup`, `uninstall`, `start`, `stop`, `restart`, `secret`: the host and its services, for root."""

import os
from contextlib import suppress

import click

from hookd.cli.common import find_app
from hookd.cli.common import stop as give_up
from hookd.config import VARIABLE
from hookd.model.app import App
from units.apps import secrets, services
from units.cli.common import dry_run, host_lock, load_server, print_line, requires_root
from units.system import layout
from units.system.run import CommandFailed


@click.command()
@click.option("--domain", help="How git hosts reach the receiver, such as deploy.example.org; remembered.")
@dry_run
@requires_root
def setup(domain: str | None, dry_run: bool) -> None:
    """Make this host a server: users, Redis, receiver, workers, nginx. Again at any time, without harm."""
    from units.apps.manage import reapply
    from units.setup import set_up

    with host_lock(dry_run=dry_run):
        set_up(domain, print_line, dry_run=dry_run)
        reapply(load_server(), print_line, dry_run=dry_run)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
@requires_root
def uninstall(yes: bool, dry_run: bool) -> None:
    """Take away exactly what hookd brought; apps' releases, data and variables stay."""
    from units.adopt.execute import undo_adoption
    from units.uninstall import all_user_variables
    from units.uninstall import uninstall as take_away

    if not dry_run and not yes:
        click.confirm("Stop every app of hookd's and take hookd off this host?", abort=True)
    with host_lock(dry_run=dry_run) as server:
        variables = all_user_variables()
        apps = [
            undo_adoption(app, server.host, server.manifest, print_line, dry_run=dry_run)
            for app in server.catalogue.apps
        ]
        take_away(server, apps, variables, print_line, dry_run=dry_run)


@click.command()
@click.argument("app")
@requires_root
def start(app: str) -> None:
    """Start APP: its sockets, and the release that serves."""
    known = _known(app)
    services.start(known)
    _show_states(known)


@click.command()
@click.argument("app")
@requires_root
def stop(app: str) -> None:
    """Stop APP, its sockets too: nothing answers until `hookd start` or the next deployment."""
    known = _known(app)
    services.stop(known)
    _show_states(known)


@click.command()
@click.argument("app")
@requires_root
def restart(app: str) -> None:
    """Restart what runs of APP; requests wait in its socket meanwhile."""
    known = _known(app)
    services.restart(known)
    _show_states(known)


def _known(name: str) -> App:
    catalogue = load_server().catalogue
    if not catalogue.apps and (asked := os.environ.get(VARIABLE)):
        hint = "the process manager's own command, such as: circusctl --endpoint ENDPOINT start SERVICE"
        give_up(f"this works on a server that `hookd setup` made, not on {asked}", hint=hint)
    return find_app(catalogue, name)


def _show_states(app: App) -> None:
    for state in unit_states(app)[0]:
        print_line(state)


def unit_states(app: App) -> tuple[list[str], bool]:
    """How each unit of an app stands, and whether all are stopped; nothing where systemd does not answer."""
    with suppress(CommandFailed):
        states = services.unit_states(app)
        return [str(state) for state in states], bool(states) and all(state.active == "inactive" for state in states)
    return [], False


@click.group()
def secret() -> None:
    """Webhook secrets."""


@secret.command("show")
@click.argument("app")
@requires_root
def show_secret(app: str) -> None:
    """Print APP's secret, the newest when there are two."""
    print_line(secrets.current(_known(app).name)[-1])


@secret.command()
@click.argument("app")
@click.option("--finish", is_flag=True, help="The git host has the new one: let only that be valid.")
@requires_root
def rotate(app: str, finish: bool) -> None:
    """Give APP a new secret; the old one stays valid until --finish."""
    with host_lock() as server:
        find_app(server.catalogue, app)
        if finish:
            secrets.finish(app, server.manifest)
            print_line(f"only the newest secret of {app} is valid now")
            return
        fresh = secrets.rotate(app, server.manifest)
    print_line(f"new secret: {fresh}\n  old and new are valid; next: paste it at the git host, then")
    print_line(f"  sudo hookd secret rotate {app} --finish   ({layout.app_secret(app)})")


COMMANDS = (setup, uninstall, start, stop, restart, secret)
