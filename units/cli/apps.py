"""`hookd app`: bring an app to this server, show it, change it, take it away."""

import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from hookd import freezes
from hookd.cli.common import find_app
from hookd.cli.deploy import run_deploy
from hookd.model.app import App
from units.adopt.execute import undo_adoption
from units.apps import secrets
from units.apps.git_access import accept_host_keys, check_access, make_deploy_key
from units.apps.manage import Server, add, is_partly_installed, remove, remove_leftovers
from units.apps.options import AddOptions, app_table, complete_table, parse_remote
from units.apps.plan import InitialContents
from units.cli.common import dry_run, host_lock, load_server, print_line, require_setup, requires_root
from units.cli.edit import read_app_file
from units.system import layout
from units.system.errors import Refused
from units.uninstall import user_variables


@click.group("app")
def app_group() -> None:
    """The apps of this server."""


@app_group.command("add")
@click.argument("name")
@click.option("--repo", help="Where the worker fetches from: git@HOST:OWNER/NAME.git, ssh://… or https://…")
@click.option("--from", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Or a TOML file.")
@click.option("--branch", default="main", show_default=True, help="The branch that is deployed.")
@click.option("--full-name", help="OWNER/NAME as the git host calls it; default: the end of the URL.")
@click.option("--sender", type=click.Choice(["github", "gitea", "forgejo", "gogs"]), help="Default: by the host.")
@click.option("--domain", help="Make an nginx site for this name.")
@click.option("--health", default="/healthz", show_default=True, help="The page that answers 200 when the app is well.")
@click.option("--handover", type=click.Choice(["blue-green", "restart"]), help="Default: blue-green if memory allows.")
@click.option("--entry", default="wsgi:app", show_default=True, help="The WSGI callable.")
@click.option("--listen", help="HOST:PORT or unix:/path; default: /run/hookd-apps/NAME.sock.")
@click.option("--workers", default=2, show_default=True, help="gunicorn's processes.")
@click.option("--policy", type=click.Choice(["group", "split", "acl"]), default="group", show_default=True)
@click.option("--env-file", type=click.Path(path_type=Path), help="The app's variables (NAME=value lines); copied.")
@click.option("--file", "files", multiple=True, metavar="NAME[=PATH]", help="A file that outlives releases: .env.")
@click.option("--data", multiple=True, metavar="NAME", help="A directory that outlives releases, such as uploads.")
@dry_run
@requires_root
def add_app(name: str, file: Path | None, repo: str | None, dry_run: bool, **options: Any) -> None:
    """Bring the app NAME to this server and make its first deployment."""
    require_setup()
    with host_lock(dry_run=dry_run) as server:
        given, unread = _given(options)
        table = _table(server, name, file, repo, options)
        app = add(server, name, table, given, print_line, unread=unread, dry_run=dry_run)
        if dry_run:
            return
        key = prepare_repository_access(app)
        print_webhook_settings(server, app, key)
    _first_deployment(app, key)


def _given(options: Mapping[str, Any]) -> tuple[InitialContents, list[str]]:
    """What the files hold that were named, and what is wrong with those that cannot be read."""
    unread: list[str] = []
    environment = _text(options["env_file"], "--env-file", unread) if options["env_file"] else None
    sources = dict(item.split("=", 1) for item in options["files"] if "=" in item)
    shared = {name: _text(Path(path), f"--file {name}", unread) for name, path in sources.items()}
    return InitialContents(secrets.new_secret(), environment, shared), unread


def _text(path: Path, option: str, unread: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        unread.append(f"{option}: {path} cannot be read: {error}")
        return ""


def _table(
    server: Server, name: str, file: Path | None, repo: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    if (file is None) == (repo is None):
        raise Refused(["an app needs --repo URL, or --from FILE, and not both"])
    if file is not None:
        try:
            written = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused([f"{file}: not TOML: {error}"]) from None
        return complete_table(name, written, memory_mib=server.host.memory_mib)
    wanted = {key: value for key, value in options.items() if key != "env_file"}
    names = tuple(item.split("=", 1)[0] for item in options["files"])
    wish = AddOptions(name=name, repository=str(repo), **{**wanted, "files": names})
    return app_table(wish, memory_mib=server.host.memory_mib)


def prepare_repository_access(app: App) -> str | None:
    """Make the deploy key and accept the git host's keys, when it is reached by ssh; returns the public key."""
    remote = parse_remote(app.repository)
    if not remote.ssh or app.deploy_key is None:
        return None
    key = make_deploy_key(app.name)
    fingerprints = accept_host_keys(remote)
    if fingerprints:
        print_line(
            f"the git host {remote.host} is accepted with these keys; compare with what it publishes:\n{fingerprints}"
        )
    return key


def print_webhook_settings(server: Server, app: App, key: str | None) -> None:
    """Print what the git host must be given."""
    domain = server.host.domain
    base = f"{'https' if domain in server.host.certificates else 'http'}://{domain}" if domain else "http://YOUR-SERVER"
    print_line(f"\nPaste at the git host, for {app.full_name}:")
    print_line(f"  webhook URL   {base}/hooks/{app.name}")
    print_line(f"  secret        {secrets.current(app.name)[-1]}")
    print_line("  content type  application/json, for push events")
    if key:
        print_line(f"  deploy key    {key}   (read only)")


def _first_deployment(app: App, key: str | None) -> None:
    problem = check_access(app.name)
    if problem:
        first = "paste the key" if key else "see to it that the repository can be read without a key"
        print_line(f"\nThe repository cannot be read yet: {problem}")
        print_line(f"  next: {first}, then: sudo hookd deploy {app.name}")
        return
    print_line("\nThe repository can be read. First deployment:")
    sys.exit(run_deploy(app.name))


@app_group.command("list")
@requires_root
def list_apps() -> None:
    """List the apps of this server."""
    apps = load_server().catalogue.apps
    if not apps:
        print_line("there is no app yet; next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git")
    for app in apps:
        print_line(f"{app.name:<20} {app.full_name} {app.branch}  {app.root}")
        if freeze := freezes.active_freeze(layout.FROZEN, app.name, datetime.now(UTC)):
            print_line(f"  {freeze}")


@app_group.command("show")
@click.argument("name")
@requires_root
def show_app(name: str) -> None:
    """Print the file of the app NAME, and what to paste at the git host."""
    server = load_server()
    app = find_app(server.catalogue, name)
    print_line(read_app_file(app).rstrip())
    print_webhook_settings(server, app, make_deploy_key(name) if app.deploy_key else None)


@app_group.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
@requires_root
def remove_app(name: str, yes: bool, dry_run: bool) -> None:
    """Stop the app NAME and take away all that was made for it; its releases, data and variables stay."""
    server = load_server()
    if not is_partly_installed(server, name):
        find_app(server.catalogue, name)
    if not dry_run and not yes:
        click.confirm(f"Stop {name} and take away its units, secret and keys? Its data and variables stay.", abort=True)
    with host_lock(dry_run=dry_run) as now:
        for path in _removed(now, name, dry_run=dry_run):
            print_line(f"  stays: {path}")


def _removed(server: Server, name: str, *, dry_run: bool) -> list[Path]:
    variables = user_variables(name)
    if is_partly_installed(server, name):
        return remove_leftovers(server, name, variables, print_line, dry_run=dry_run)
    app = undo_adoption(find_app(server.catalogue, name), server.host, server.manifest, print_line, dry_run=dry_run)
    return remove(server, app, variables, print_line, dry_run=dry_run)
