"""`hookd app edit`: changes an app's file, and brings the app to what it then says, or leaves all as it was."""

import shlex
import sys
import tomllib
from collections.abc import MutableMapping
from typing import Any, Final

import click
import tomlkit

from hookd.cli.common import INTERRUPTED, find_app, stop
from hookd.cli.deploy import run_deploy
from hookd.cli.progress import EXIT_CODES
from hookd.model.app import App
from hookd.model.deployment import Status
from units.apps.git_access import check_access
from units.apps.manage import edit, finish_edit
from units.cli.common import dry_run, host_lock, load_server, print_line, requires_root
from units.system import layout
from units.system.errors import HostError, Refused

# What stands in units and sites, so that a restart takes it up.
_FOR_UNITS: Final = frozenset({"service", "site", "health"})


@click.command("edit")
@click.argument("name")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="health.deadline=60; else an editor.")
@dry_run
@requires_root
def edit_app(name: str, changes: tuple[str, ...], dry_run: bool) -> None:
    """Change the app NAME: nothing is taken over before all of it is valid."""
    old = read_app_file(find_app(load_server().catalogue, name))
    edited = _set(name, old, changes, dry_run=dry_run) if changes else _edited(name, old, dry_run=dry_run)
    if edited is None:
        print_line("nothing was changed")
        return
    new, before, other_way = edited
    if dry_run:
        print_line(
            "  then a deployment starts the app in its new way" if other_way else "  what runs takes it up later"
        )
    elif other_way:
        sys.exit(_turn(before, old, new))
    elif old == new:
        print_line("nothing was changed")
    else:
        _tell_when(before, find_app(load_server().catalogue, name))


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
                print_line(str(error))
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                print_line(f"# What you have written, so that it is not lost:\n\n{new}")
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
    if changed & {"repository", "branch", "deploy_key"} and (problem := check_access(app.name)):
        print_line(f"the repository cannot be read so: {problem}\n  next: sudo hookd app edit {app.name}")
        sys.exit(1)
    if changed <= _FOR_UNITS:
        print_line(f"what runs takes it up with the next deployment, or at once: sudo hookd restart {app.name}")
    else:
        print_line(f"it is taken up with the next deployment, such as: sudo hookd deploy {app.name}")


def _bring(name: str, old: str, new: str, *, dry_run: bool) -> tuple[App, bool]:
    """Bring an app from its old text to a new one; returns the app as it was, and whether it is to run in another way.

    Raises Refused when something stands in the way, or the old text is no longer there.
    """
    try:
        table = tomlkit.parse(new).unwrap()
    except tomlkit.exceptions.TOMLKitError as error:
        raise Refused([f"not TOML: {error}"]) from None
    with host_lock(dry_run=dry_run) as server:
        before = find_app(server.catalogue, name)
        _need_unchanged(before, old)
        return before, edit(server, before, table, new, print_line, dry_run=dry_run)


def _need_unchanged(app: App, text: str) -> None:
    """Raise Refused when the app's file is not as it was when a person began to change it."""
    if read_app_file(app) != text:
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
    print_line("\nThe app is started in its new way by a deployment:")
    deployed = run_deploy(name)
    is_open = deployed in (INTERRUPTED, EXIT_CODES[Status.SUPERSEDED])
    if is_open or (deployed and old == new):
        stop(f"{name} is between its old and its new way", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    with host_lock() as server:
        app = find_app(server.catalogue, name)
        if deployed:
            _need_unchanged(app, new)
            edit(server, app, tomlkit.parse(old).unwrap(), old, print_line, dry_run=False)
            finish_edit(load_server(), before, print_line)
        else:
            finish_edit(server, app, print_line)
    if deployed:
        print_line(f"\n{name} is as it was before; next: mend it, then the same again")
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


def read_app_file(app: App) -> str:
    """An app's file as it stands in the catalogue."""
    return layout.app_file(app.name).read_text(encoding="utf-8")
