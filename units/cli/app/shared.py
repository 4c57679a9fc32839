"""Shared parts of `hookd app …`: the access to a repository, the webhook's values, and the app's file."""

import click

from hookd.cli.common import print_line
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from units.apps import secrets
from units.apps.manage import Server
from units.apps.repository.git_access import accept_host_keys, make_deploy_key
from units.apps.table.options import Remote, parse_remote
from units.system import layout

sender_option = click.option(
    "--sender", type=click.Choice([host.value for host in GitHost]), help="Default: from the host."
)


def prepare_repository_access(app: App) -> str | None:
    """Make the deploy key and accept the git host's ssh keys. Returns the public key, or None without ssh."""
    remote = parse_remote(app.repository)
    if not remote.ssh or app.deploy_key is None:
        return None
    key = make_deploy_key(app.name)
    accept_keys(remote)
    return key


def accept_keys(remote: Remote) -> None:
    """Accept the keys of a git host that is not known yet, and print their fingerprints. Raises HostError."""
    if fingerprints := accept_host_keys(remote):
        print_line(f"accepted the keys of {remote.host}, compare them with its published ones:\n{fingerprints}")


def print_unreadable(problem: str) -> None:
    """Print why the worker cannot read a repository."""
    print_line(f"\nThe repository cannot be read yet: {problem}")


def print_webhook_settings(server: Server, app: App, key: str | None) -> None:
    """Print the values to paste at the git host."""
    domain = server.host.domain
    base = f"{'https' if domain in server.host.certificates else 'http'}://{domain}" if domain else "http://YOUR-SERVER"
    print_line(f"\nPaste at the git host, for {app.full_name}:")
    print_line(f"  webhook URL   {base}/hooks/{app.name}")
    print_line(f"  secret        {secrets.current(app.name)[-1]}")
    print_line("  content type  application/json, for push events")
    if key:
        print_line(f"  deploy key    {key}   (read only)")


def read_app_file(app: App) -> str:
    """Return the text of an app's file."""
    return layout.app_file(app.name).read_text(encoding="utf-8")
