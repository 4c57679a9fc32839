"""`hookd app`: bring an app to this server, show it, change it, take it away."""

import shlex
import sys
import tomllib
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import tomlkit

from hookd.cli.base import INTERRUPTED, main, stop
from hookd.cli.follow import EXIT_CODES, visible
from hookd.cli.root import alone, as_root, dry_run, known_app, say, server
from hookd.contract.catalogue import App
from hookd.contract.deployment import Status
from hookd.store import freezes
from units import layout, secrets
from units.adopt.back import give_back
from units.app_checks import parsed
from units.app_plan import Given
from units.apps import Server, add, edit, finish_edit, remove
from units.errors import Refused
from units.git_access import deploy_key, know_host, probe
from units.wish import Wish, remote_of, table_of


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
@click.option("--env-file", type=click.File("r"), help="The app's variables (NAME=value lines); copied.")
@click.option("--file", "files", multiple=True, metavar="NAME[=PATH]", help="A file that outlives releases: .env.")
@click.option("--data", multiple=True, metavar="NAME", help="A directory that outlives releases, such as uploads.")
@dry_run
@as_root
def add_app(name: str, file: Path | None, repo: str | None, dry_run: bool, **options: Any) -> None:
    """Bring the app NAME to this server and make its first deployment."""
    host = server()
    given = _given(options)
    table = _table(host, name, file, repo, options)
    app = parsed(name, table)
    if dry_run:
        add(host, app, table, given, say, dry_run=True)
        return
    with alone():
        add(host, app, table, given, say, dry_run=False)
        key = open_the_repository(app)
    tell_what_to_paste(host, app, key)
    _first_deployment(app)


def _given(options: Mapping[str, Any]) -> Given:
    environment = options["env_file"].read() if options["env_file"] else None
    sources = dict(item.split("=", 1) for item in options["files"] if "=" in item)
    try:
        shared = {name: Path(path).read_text(encoding="utf-8") for name, path in sources.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise Refused([f"a shared file cannot be read: {error}"]) from None
    return Given(secrets.new_secret(), environment, shared)


def _table(host: Server, name: str, file: Path | None, repo: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    if (file is None) == (repo is None):
        raise Refused(["an app needs --repo URL, or --from FILE, and not both"])
    if file is not None:
        try:
            return tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused([f"{file}: not TOML: {error}"]) from None
    wanted = {key: value for key, value in options.items() if key != "env_file"}
    names = tuple(item.split("=", 1)[0] for item in options["files"])
    wish = Wish(name=name, repository=str(repo), **{**wanted, "files": names})
    return table_of(wish, memory_mib=host.host.memory_mib)


def open_the_repository(app: App) -> str | None:
    """Make the deploy key and accept the git host's keys, when it is reached by ssh; returns the public key."""
    remote = remote_of(app.repository)
    if not remote.ssh or app.deploy_key is None:
        return None
    key = deploy_key(app.name)
    fingerprints = know_host(remote)
    if fingerprints:
        say(f"the git host {remote.host} is accepted with these keys; compare with what it publishes:\n{fingerprints}")
    return key


def tell_what_to_paste(host: Server, app: App, key: str | None) -> None:
    domain = host.host.domain
    base = f"{'https' if domain in host.host.certificates else 'http'}://{domain}" if domain else "http://YOUR-SERVER"
    say(f"\nPaste at the git host, for {app.full_name}:")
    say(f"  webhook URL   {base}/hooks/{app.name}")
    say(f"  secret        {secrets.current(app.name)[-1]}")
    say("  content type  application/json, for push events")
    if key:
        say(f"  deploy key    {key}   (read only)")


def _first_deployment(app: App) -> None:
    problem = probe(app.name)
    if problem:
        say(f"\nThe repository cannot be read yet: {problem}")
        say(f"  next: paste the key, then: sudo hookd deploy {app.name}")
        return
    say("\nThe repository can be read. First deployment:")
    sys.exit(_deploy(app.name))


def _deploy(name: str) -> int:
    """Do as `hookd deploy` does, and return its exit status."""
    sys.stdout.flush()
    try:
        main.main(args=["deploy", name], prog_name="hookd")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@app_group.command("list")
@as_root
def list_apps() -> None:
    """List the apps of this server."""
    for app in server().catalogue.apps:
        say(f"{app.name:<20} {app.full_name} {app.branch}  {app.root}")
        if freeze := freezes.in_force(layout.FROZEN, app.name, datetime.now(UTC)):
            say(f"  {visible(str(freeze))}")


@app_group.command("show")
@click.argument("name")
@as_root
def show_app(name: str) -> None:
    """Print the file of the app NAME, and what to paste at the git host."""
    host = server()
    app = known_app(host, name)
    say(layout.app_file(name).read_text(encoding="utf-8").rstrip())
    tell_what_to_paste(host, app, deploy_key(name) if app.deploy_key else None)


@app_group.command("edit")
@click.argument("name")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="health.deadline=60; else an editor.")
@dry_run
@as_root
def edit_app(name: str, changes: tuple[str, ...], dry_run: bool) -> None:
    """Change the app NAME: nothing is taken over before all of it is valid."""
    host = server()
    known = known_app(host, name)
    old = layout.app_file(name).read_text(encoding="utf-8")
    new = _changed(old, changes) if changes else click.edit(old, extension=".toml", require_save=True)
    if new is None:
        say("nothing was changed")
        return
    try:
        table = tomlkit.parse(new)
    except tomlkit.exceptions.TOMLKitError as error:
        raise Refused([f"not TOML: {error}"]) from None
    app = parsed(name, table.unwrap())
    with alone():
        other_way = edit(host, known, app, new, say, dry_run=dry_run)
    if dry_run:
        return
    if other_way:
        sys.exit(_turn(name, known, old if new != old else None))
    say(f"what runs takes it up with the next deployment, or at once: sudo hookd restart {name}")


def _turn(name: str, before: App, old: str | None) -> int:
    """Start an app in its new way by a deployment, and end its old way; or go back, when that does not go well.

    Without its `old` text, since an earlier run was cut off, there is nothing to go back to. Returns the exit status.
    """
    say("\nThe app is started in its new way by a deployment:")
    deployed = _deploy(name)
    is_open = deployed in (INTERRUPTED, EXIT_CODES[Status.SUPERSEDED])
    if is_open or (deployed and old is None):
        stop(f"{name} is between its old and its new way", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    with alone():
        host = server()
        if deployed and old is not None:
            edit(host, known_app(host, name), before, old, say, dry_run=False)
            host = server()
        finish_edit(host, known_app(host, name), say)
    if deployed:
        say(f"\n{name} is as it was before; next: mend it, then the same again")
    return deployed


def _changed(text: str, changes: tuple[str, ...]) -> str:
    """Set keys in a TOML text whose other lines and comments stay as they are."""
    document: Any = tomlkit.parse(text)
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise Refused([f"{change!r} has no value; wanted: KEY=VALUE, such as health.deadline=60"])
        *tables, key = path.split(".")
        place = document
        for table in tables:
            place = place.setdefault(table, tomlkit.table())
            if not isinstance(place, MutableMapping):
                raise Refused([f"{path}: {table} is a value, not a table"])
        place[key] = _value(value)
    return tomlkit.dumps(document)


def _value(text: str) -> Any:
    """Read a value as TOML would, and as text what is no TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@app_group.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
@as_root
def remove_app(name: str, yes: bool, dry_run: bool) -> None:
    """Stop the app NAME and take away all that was made for it; its releases and data stay."""
    host = server()
    app = known_app(host, name)
    if not dry_run and not yes:
        click.confirm(f"Stop {name} and take away its units, secret and keys?", abort=True)
    with alone():
        if not dry_run:
            give_back(name, host.host, host.manifest, say)
        for path in remove(host, app, say, dry_run=dry_run):
            say(f"  stays: {path}")
