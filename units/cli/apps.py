"""`hookd app`: add an app to this server, list and show apps, remove one."""

import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from hookd import freezes
from hookd.cli.common import app_argument, find_app, print_line, print_next
from hookd.cli.main import LazyGroup
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from hookd.variables import misread
from units.adopt.execute import undo_adoption
from units.apps import secrets
from units.apps.accounts import default_user
from units.apps.git_access import accept_host_keys, check_access, make_deploy_key
from units.apps.manage import Server, add, is_partly_installed, remove
from units.apps.options import AddOptions, app_table, complete_table, parse_remote
from units.apps.own_file import add_user, require_shared_files
from units.apps.plan import InitialContents
from units.apps.variables import describe_problems
from units.cli import common
from units.cli.edit import read_app_file
from units.system import layout
from units.system.errors import Refused
from units.uninstall import user_variables

# The parameters of `hookd app add` that count beside --from.
_BESIDE_FILE: Final = ("name", "file", "repo", "user", "env_file", "files", "dry_run")

sender_option = click.option(
    "--sender", type=click.Choice([host.value for host in GitHost]), help="Default: from the host."
)


@click.group(
    cls=LazyGroup,
    modules={"adopt": "units.cli.adopt", "edit": "units.cli.edit"},
    epilog="Example: sudo hookd app show shop",
)
def app() -> None:
    """Add, adopt, edit, list, show or remove apps."""


@app.command("add", epilog="Example: sudo hookd app add shop --repo git@github.com:acme/shop.git")
@click.argument("name")
@click.option("--repo", help="git@HOST:OWNER/NAME.git, ssh://… or https://…")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The app's TOML file, in place of --repo.",
)
@click.option("--branch", default="main", show_default=True, help="The branch to deploy.")
@click.option("--full-name", help="OWNER/NAME at the git host, default: the end of the URL.")
@sender_option
@click.option("--domain", help="Make an nginx site for this name.")
@click.option("--health", default="/healthz", show_default=True, help="The page for health checks.")
@click.option("--handover", type=click.Choice(["blue-green", "restart"]), help="Default: blue-green if memory allows.")
@click.option("--entry", default="wsgi:app", show_default=True, help="The WSGI callable.")
@click.option("--listen", help="HOST:PORT or unix:/path, default: /run/hookd-apps/NAME.sock.")
@click.option("--workers", type=int, help="gunicorn's processes, default: 2, or those of its gunicorn.conf.py.")
@click.option(
    "--policy",
    type=click.Choice(["group", "split", "acl"]),
    default="group",
    show_default=True,
    help="The owners and modes of the app's files.",
)
@click.option("--user", help="The app's user, made if it is missing, default: one of its own, www-data for the first.")
@click.option("--env-file", type=click.Path(path_type=Path), help="The app's variables (NAME=value lines), copied.")
@click.option(
    "--file", "files", multiple=True, metavar="NAME[=PATH]", help="A file outside the releases, such as .env."
)
@click.option("--data", multiple=True, metavar="NAME", help="A directory outside the releases, such as uploads.")
@click.option("--process", "processes", multiple=True, metavar="NAME=COMMAND", help="A process beside the web process.")
@common.dry_run_option
@common.requires_root
def add_app(name: str, file: Path | None, repo: str | None, dry_run: bool, **options: Any) -> None:
    """Add an app to this server and deploy it."""
    common.require_setup()
    with common.host_lock(dry_run=dry_run) as server:
        contents = _read_contents(options)
        table = _table(server, name, file, repo, options)
        app = add(server, name, table, contents, print_line, dry_run=dry_run)
        if dry_run:
            return
        key = prepare_repository_access(app)
        print_webhook_settings(server, app, key)
    if problem := check_access(app.name):
        print_line(f"\nThe repository cannot be read yet: {problem}")
        print_line("  paste the key" if key else "  make the repository readable without a key")
        print_next(f"sudo hookd deploy {app.name}")
        return
    print_line("\nThe repository can be read. First deployment:")
    sys.exit(common.run_deploy(app.name))


def _read_contents(options: Mapping[str, Any]) -> InitialContents:
    """Read the named files. Raises Refused with those that cannot be read, and with misread variables."""
    unreadable: list[str] = []
    environment = _read_text(options["env_file"], "--env-file", unreadable) if options["env_file"] else None
    if environment is not None:
        unreadable += describe_problems(options["env_file"], misread(environment))
    sources = dict(item.split("=", 1) for item in options["files"] if "=" in item)
    shared = {name: _read_text(Path(path), f"--file {name}", unreadable) for name, path in sources.items()}
    if unreadable:
        raise Refused(unreadable)
    return InitialContents(secrets.new_secret(), environment, shared)


def _read_text(path: Path, option: str, unreadable: list[str]) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        unreadable.append(f"{option}: {path} cannot be read: {error}")
        return ""


def _table(
    server: Server, name: str, file: Path | None, repo: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    if (file is None) == (repo is None):
        raise Refused(["an app needs either --repo URL or --from FILE"])
    if file is not None:
        return _completed_table(server, name, file, options)
    chosen = {key: value for key, value in options.items() if key != "env_file"}
    user = options["user"] or default_user(name, server.catalogue, server.manifest)
    names = _names(options["files"])
    add_options = AddOptions(name=name, repository=str(repo), **{**chosen, "files": names, "user": user})
    return app_table(add_options, memory_mib=server.host.memory_mib)


def _names(files: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the values NAME=PATH of `--file`."""
    return tuple(item.split("=", 1)[0] for item in files)


def _completed_table(server: Server, name: str, file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the app's file of `--from`, and add the values that it leaves to hookd and to the other options."""
    _refuse_options_of_repo(file)
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused([f"{file}: not TOML: {error}"]) from None
    require_shared_files(written, _names(options["files"]))
    table = add_user(written, options["user"], lambda: default_user(name, server.catalogue, server.manifest))
    return complete_table(name, table, memory_mib=server.host.memory_mib)


def _refuse_options_of_repo(file: Path) -> None:
    """Raise Refused for typed options that a file replaces."""
    context = click.get_current_context()
    typed = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    unused = [name.replace("_", "-") for name in typed if name not in _BESIDE_FILE]
    if unused:
        raise Refused([f"--{name} belongs to --repo: write its value into {file}" for name in unused])


def prepare_repository_access(app: App) -> str | None:
    """Make the deploy key and accept the git host's ssh keys. Returns the public key, or None without ssh."""
    remote = parse_remote(app.repository)
    if not remote.ssh or app.deploy_key is None:
        return None
    key = make_deploy_key(app.name)
    if fingerprints := accept_host_keys(remote):
        print_line(f"accepted the keys of {remote.host}, compare them with its published ones:\n{fingerprints}")
    return key


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


@app.command("list", epilog="Example: sudo hookd app list")
@common.requires_root
def list_apps() -> None:
    """List the apps of this server."""
    common.require_setup()
    apps = common.load_server().catalogue.apps
    if not apps:
        print_line("there is no app yet\n  next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git")
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
