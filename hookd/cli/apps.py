"""`hookd app`: bring an app to this server, show it, change it, take it away."""

import shlex
import sys
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import click
import tomlkit

from hookd.cli.base import INTERRUPTED, app_of, stop
from hookd.cli.deployments import deploy_as_typed
from hookd.cli.follow import EXIT_CODES
from hookd.cli.root import alone, as_root, dry_run, look_at_server, need_set_up, say
from hookd.contract.catalogue import App
from hookd.contract.deployment import Status
from units import layout, secrets
from units.adopt.back import give_back
from units.app_plan import Given
from units.apps import Server, add, edit, finish_edit, is_half_there, remove, remove_rest
from units.errors import HostError, Refused
from units.git_access import deploy_key, know_host, probe
from units.typed import variables_of
from units.wish import Wish, completed, remote_of, table_of

# What stands in units and sites, so that a restart takes it up.
_FOR_UNITS: Final = frozenset({"service", "site", "health"})


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
@as_root
def add_app(name: str, file: Path | None, repo: str | None, dry_run: bool, **options: Any) -> None:
    """Bring the app NAME to this server and make its first deployment."""
    need_set_up()
    with alone(dry_run=dry_run) as server:
        given, unread = _given(options)
        table = _table(server, name, file, repo, options)
        app = add(server, name, table, given, say, unread=unread, dry_run=dry_run)
        if dry_run:
            return
        key = open_the_repository(app)
        tell_what_to_paste(server, app, key)
    _first_deployment(app, key)


def _given(options: Mapping[str, Any]) -> tuple[Given, list[str]]:
    """What the files hold that were named, and what is wrong with those that cannot be read."""
    unread: list[str] = []
    environment = _text(options["env_file"], "--env-file", unread) if options["env_file"] else None
    sources = dict(item.split("=", 1) for item in options["files"] if "=" in item)
    shared = {name: _text(Path(path), f"--file {name}", unread) for name, path in sources.items()}
    return Given(secrets.new_secret(), environment, shared), unread


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
        return completed(name, written, memory_mib=server.host.memory_mib)
    wanted = {key: value for key, value in options.items() if key != "env_file"}
    names = tuple(item.split("=", 1)[0] for item in options["files"])
    wish = Wish(name=name, repository=str(repo), **{**wanted, "files": names})
    return table_of(wish, memory_mib=server.host.memory_mib)


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


def tell_what_to_paste(server: Server, app: App, key: str | None) -> None:
    """Print what the git host must be given."""
    domain = server.host.domain
    base = f"{'https' if domain in server.host.certificates else 'http'}://{domain}" if domain else "http://YOUR-SERVER"
    say(f"\nPaste at the git host, for {app.full_name}:")
    say(f"  webhook URL   {base}/hooks/{app.name}")
    say(f"  secret        {secrets.current(app.name)[-1]}")
    say("  content type  application/json, for push events")
    if key:
        say(f"  deploy key    {key}   (read only)")


def _first_deployment(app: App, key: str | None) -> None:
    problem = probe(app.name)
    if problem:
        first = "paste the key" if key else "see to it that the repository can be read without a key"
        say(f"\nThe repository cannot be read yet: {problem}")
        say(f"  next: {first}, then: sudo hookd deploy {app.name}")
        return
    say("\nThe repository can be read. First deployment:")
    sys.exit(deploy_as_typed(app.name))


@app_group.command("list")
@as_root
def list_apps() -> None:
    """List the apps of this server."""
    apps = look_at_server().catalogue.apps
    if not apps:
        say("there is no app yet; next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git")
    for app in apps:
        say(f"{app.name:<20} {app.full_name} {app.branch}  {app.root}")


@app_group.command("show")
@click.argument("name")
@as_root
def show_app(name: str) -> None:
    """Print the file of the app NAME, and what to paste at the git host."""
    server = look_at_server()
    app = app_of(server.catalogue, name)
    say(_text_of(app).rstrip())
    tell_what_to_paste(server, app, deploy_key(name) if app.deploy_key else None)


@app_group.command("edit")
@click.argument("name")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="health.deadline=60; else an editor.")
@dry_run
@as_root
def edit_app(name: str, changes: tuple[str, ...], dry_run: bool) -> None:
    """Change the app NAME: nothing is taken over before all of it is valid."""
    old = _text_of(app_of(look_at_server().catalogue, name))
    edited = _set(name, old, changes, dry_run=dry_run) if changes else _edited(name, old, dry_run=dry_run)
    if edited is None:
        say("nothing was changed")
        return
    new, before, other_way = edited
    if dry_run:
        say("  then a deployment starts the app in its new way" if other_way else "  what runs takes it up later")
    elif other_way:
        sys.exit(_turn(before, old, new))
    elif old == new:
        say("nothing was changed")
    else:
        _tell_when(before, app_of(look_at_server().catalogue, name))


def _set(name: str, old: str, changes: tuple[str, ...], *, dry_run: bool) -> tuple[str, App, bool]:
    new = _changed(old, changes)
    return new, *_bring(name, old, new, dry_run=dry_run)


def _edited(name: str, old: str, *, dry_run: bool) -> tuple[str, App, bool] | None:
    """Let a person edit the app's text until it can be brought; None when it was left as it is."""
    text = old
    while (new := _in_an_editor(text)) is not None:
        try:
            return new, *_bring(name, old, new, dry_run=dry_run)
        except HostError as error:
            if sys.stdin.isatty():
                say(str(error))
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                say(f"# What you have written, so that it is not lost:\n\n{new}")
                raise
        text = new
    return None


def _in_an_editor(text: str) -> str | None:
    try:
        return click.edit(text, extension=".toml", require_save=True)
    except ValueError as error:
        raise HostError(f"the editor that $VISUAL or $EDITOR names cannot be started: {error}") from None


def _tell_when(before: App, app: App) -> None:
    """Say when a change is taken up, and whether the repository can still be read."""
    changed = {key for key in App.model_fields if getattr(before, key) != getattr(app, key)}
    if changed & {"repository", "branch", "deploy_key"} and (problem := probe(app.name)):
        say(f"the repository cannot be read so: {problem}\n  next: sudo hookd app edit {app.name}")
        sys.exit(1)
    if changed <= _FOR_UNITS:
        say(f"what runs takes it up with the next deployment, or at once: sudo hookd restart {app.name}")
    else:
        say(f"it is taken up with the next deployment, such as: sudo hookd deploy {app.name}")


def _bring(name: str, old: str, new: str, *, dry_run: bool) -> tuple[App, bool]:
    """Bring an app from its old text to a new one; returns the app as it was, and whether it is to run in another way.

    Raises Refused when something stands in the way, or the old text is no longer there.
    """
    try:
        table = tomlkit.parse(new).unwrap()
    except tomlkit.exceptions.TOMLKitError as error:
        raise Refused([f"not TOML: {error}"]) from None
    with alone(dry_run=dry_run) as server:
        before = app_of(server.catalogue, name)
        _need_unchanged(before, old)
        return before, edit(server, before, table, new, say, dry_run=dry_run)


def _text_of(app: App) -> str:
    return layout.app_file(app.name).read_text(encoding="utf-8")


def _need_unchanged(app: App, text: str) -> None:
    """Raise Refused when the app's file is not as it was when a person began to change it."""
    if _text_of(app) != text:
        raise Refused(
            [f"another command changed {app.name} meanwhile: what you have written would undo that"],
            hint=f"sudo hookd app edit {app.name}",
        )


def _turn(before: App, old: str, new: str) -> int:
    """Start an app in its new way by a deployment, and end its old way; or go back, when that does not go well.

    When old and new are the same, since an earlier run was cut off, there is nothing to go back to. Returns the exit
    status.
    """
    name = before.name
    say("\nThe app is started in its new way by a deployment:")
    deployed = deploy_as_typed(name)
    is_open = deployed in (INTERRUPTED, EXIT_CODES[Status.SUPERSEDED])
    if is_open or (deployed and old == new):
        stop(f"{name} is between its old and its new way", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    with alone() as server:
        app = app_of(server.catalogue, name)
        if deployed:
            _need_unchanged(app, new)
            edit(server, app, tomlkit.parse(old).unwrap(), old, say, dry_run=False)
            finish_edit(look_at_server(), before, say)
        else:
            finish_edit(server, app, say)
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
    """Stop the app NAME and take away all that was made for it; its releases, data and variables stay."""
    server = look_at_server()
    if not is_half_there(server, name):
        app_of(server.catalogue, name)
    if not dry_run and not yes:
        click.confirm(f"Stop {name} and take away its units, secret and keys? Its data and variables stay.", abort=True)
    with alone(dry_run=dry_run) as now:
        for path in _removed(now, name, dry_run=dry_run):
            say(f"  stays: {path}")


def _removed(server: Server, name: str, *, dry_run: bool) -> list[Path]:
    variables = variables_of(name)
    if is_half_there(server, name):
        return remove_rest(server, name, variables, say, dry_run=dry_run)
    app = give_back(app_of(server.catalogue, name), server.host, server.manifest, say, dry_run=dry_run)
    return remove(server, app, variables, say, dry_run=dry_run)
