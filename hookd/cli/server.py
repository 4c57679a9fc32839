"""`hookd setup`, `uninstall`, `start`, `stop`, `restart`, `secret`: the host and its services, for root."""

import click

from hookd.cli.root import alone, as_root, dry_run, known_app, say, server
from units import layout, secrets, services


@click.command()
@click.option("--domain", help="How git hosts reach the receiver, such as deploy.example.org; remembered.")
@dry_run
@as_root
def setup(domain: str | None, dry_run: bool) -> None:
    """Make this host a server: users, Redis, receiver, workers, nginx. Again at any time, without harm."""
    from units.apps import bring_again
    from units.setup import set_up

    if dry_run:
        set_up(domain, say, dry_run=True)
        bring_again(server(), say, dry_run=True)
        return
    with alone():
        set_up(domain, say, dry_run=False)
        bring_again(server(), say, dry_run=False)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
@as_root
def uninstall(yes: bool, dry_run: bool) -> None:
    """Take away exactly what hookd brought; apps' releases and data stay."""
    from units.adopt.back import give_back
    from units.uninstall import uninstall as take_away

    if not dry_run and not yes:
        click.confirm("Stop every app of hookd's and take hookd off this host?", abort=True)
    with alone():
        host = server()
        for app in () if dry_run else host.catalogue.apps:
            give_back(app.name, host.host, host.manifest, say)
        take_away(host, say, dry_run=dry_run)


@click.command()
@click.argument("app")
@as_root
def start(app: str) -> None:
    """Start APP: its sockets, and the release that serves."""
    services.start(known_app(server(), app))
    _show_states(app)


@click.command()
@click.argument("app")
@as_root
def stop(app: str) -> None:
    """Stop APP, its sockets too: nothing answers until `hookd start` or the next deployment."""
    services.stop(known_app(server(), app))
    _show_states(app)


@click.command()
@click.argument("app")
@as_root
def restart(app: str) -> None:
    """Restart what runs of APP; requests wait in its socket meanwhile."""
    services.restart(known_app(server(), app))
    _show_states(app)


def _show_states(app: str) -> None:
    for state in services.states(known_app(server(), app)):
        say(str(state))


@click.group()
def secret() -> None:
    """Webhook secrets."""


@secret.command("show")
@click.argument("app")
@as_root
def show_secret(app: str) -> None:
    """Print APP's secret, the newest when there are two."""
    say(secrets.current(known_app(server(), app).name)[-1])


@secret.command()
@click.argument("app")
@click.option("--finish", is_flag=True, help="The git host has the new one: let only that be valid.")
@as_root
def rotate(app: str, finish: bool) -> None:
    """Give APP a new secret; the old one stays valid until --finish."""
    known_app(server(), app)
    with alone():
        if finish:
            secrets.finish(app)
            say(f"only the newest secret of {app} is valid now")
            return
        fresh = secrets.rotate(app)
    say(f"new secret: {fresh}\n  old and new are valid; next: paste it at the git host, then")
    say(f"  sudo hookd secret rotate {app} --finish   ({layout.app_secret(app)})")


COMMANDS = (setup, uninstall, start, stop, restart, secret)
