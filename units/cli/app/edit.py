"""`hookd app edit`: changes an app's file and applies it completely, or leaves everything as it was."""

import sys
from typing import Final

import click
import tomlkit

from hookd.cli.common import INTERRUPTED, app_argument, fail, find_app, print_line, print_next, sudo_command
from hookd.cli.progress import EXIT_CODES
from hookd.model.app import App
from hookd.model.deployment import Status
from units.apps import manage
from units.apps.permissions import check_permissions
from units.apps.repository.git_access import check_access
from units.apps.table.keys import set_keys
from units.apps.table.options import parse_app
from units.apps.variables import require_plain_variables
from units.cli.app.shared import read_app_file
from units.cli.common import (
    dry_run_option,
    host_lock,
    load_server,
    require_setup,
    requires_root,
    retry_failed,
    run_deploy,
)
from units.setup import certify
from units.system.errors import HostError, Refused

# Only units and sites read these, so a restart applies them.
_UNIT_KEYS: Final = frozenset({"service", "site", "health", "processes", "timers"})


@click.command(epilog="Example: sudo hookd app edit shop --set health.deadline=60")
@app_argument
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a key, default: open an editor.")
@dry_run_option
@requires_root
def edit(app: str, changes: tuple[str, ...], dry_run: bool) -> None:
    """Change an app's file and apply it."""
    require_setup()
    old = read_app_file(find_app(load_server().catalogue, app))
    if changes:
        new = set_keys(old, changes)
        before, needs_deploy = _apply(app, old, new, dry_run=dry_run)
    elif edited := _edit_until_valid(app, old, dry_run=dry_run):
        new, before, needs_deploy = edited
    else:
        print_line("nothing was changed")
        return
    if dry_run:
        print_line("  then a deployment restarts the app" if needs_deploy else "  the running app is not restarted")
    elif needs_deploy:
        sys.exit(_deploy_or_revert(before, old, new))
    elif old == new:
        print_line("nothing was changed")
    else:
        _print_effect(before, find_app(load_server().catalogue, app))


def _edit_until_valid(name: str, old: str, *, dry_run: bool) -> tuple[str, App, bool] | None:
    """Open an editor until the text can be applied. Returns None without a change."""
    text = old
    while (new := _open_editor(text)) is not None:
        try:
            return new, *_apply(name, old, new, dry_run=dry_run)
        except HostError as error:
            if sys.stdin.isatty():
                print_line(str(error))
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                print_line(f"# Your text, not applied:\n\n{new}")
                raise
        text = new
    return None


def _open_editor(text: str) -> str | None:
    try:
        return click.edit(text, extension=".toml", require_save=True)
    except ValueError as error:
        raise HostError(f"the editor in $VISUAL or $EDITOR cannot be started: {error}") from None


def _print_effect(before: App, app: App) -> None:
    """Check the access to a changed repository, and print when the change takes effect."""
    changed = {key for key in App.model_fields if getattr(before, key) != getattr(app, key)}
    if changed & {"repository", "branch", "deploy_key"} and (problem := check_access(app.name)):
        print_line(f"the new repository cannot be read: {problem}")
        print_next(f"sudo hookd app edit {app.name}")
        sys.exit(1)
    if changed == {"ownership"} and before.ownership.policy == app.ownership.policy:
        print_line(f"{app.name} is {app.ownership.user}:{app.ownership.group} now")
        print_next(f"sudo hookd status {app.name}")
        return
    if changed == {"site"}:
        print_line("nginx uses it now")
        print_next(f"sudo hookd status {app.name}")
        return
    if changed and retry_failed(app):
        print_next(f"hookd logs {app.name} --follow")
        return
    command = "restart" if changed <= _UNIT_KEYS else "deploy"
    print_line("takes effect with the next deployment")
    print_next(f"sudo hookd {command} {app.name}")


def _apply(name: str, old: str, new: str, *, dry_run: bool) -> tuple[App, bool]:
    """Apply the new text. Returns the app before, and True if a deployment must restart it.

    Raises Refused for an invalid text, and if another command changed the file.
    """
    try:
        table = tomlkit.parse(new).unwrap()
    except tomlkit.exceptions.TOMLKitError as error:
        raise Refused([f"not TOML: {error}"]) from None
    with host_lock(dry_run=dry_run) as server:
        before = find_app(server.catalogue, name)
        _require_unchanged(before, old)
        require_plain_variables(parse_app(name, table))
        needs_deploy = manage.edit(server, before, table, new, print_line, dry_run=dry_run)
        if not dry_run:
            _apply_site(before, load_server())
        return before, needs_deploy


def _apply_site(before: App, server: manage.Server) -> None:
    """Obtain a missing certificate of a changed site, and open its static files to nginx in all releases."""
    app = find_app(server.catalogue, before.name)
    if app.site != before.site:
        certify(server, print_line, only=app.site.domain or "")
    if app.site.static != before.site.static:
        check_permissions(app, server.settings, fix=True)


def _require_unchanged(app: App, text: str) -> None:
    if read_app_file(app) != text:
        raise Refused([f"another command changed {app.name} meanwhile"], hint=f"sudo hookd app edit {app.name}")


def _deploy_or_revert(before: App, old: str, new: str) -> int:
    """Deploy the app with its new file and remove its old units, or revert. Returns the exit status.

    With `old` equal to `new`, this continues an interrupted edit and cannot revert.
    """
    name = before.name
    print_line("\nA deployment restarts the app with its new file:")
    status = run_deploy(name)
    is_open = status in (INTERRUPTED, EXIT_CODES[Status.SUPERSEDED])
    if is_open or (status and old == new):
        fail(f"the edit of {name} is not complete", hint=sudo_command())
    with host_lock() as server:
        app = find_app(server.catalogue, name)
        if status:
            _require_unchanged(app, new)
            manage.edit(server, app, tomlkit.parse(old).unwrap(), old, print_line, dry_run=False)
            manage.finish_edit(load_server(), before, print_line)
        else:
            manage.finish_edit(server, app, print_line)
    if status:
        print_line(f"\n{name} is as it was before")
        print_next(sudo_command())
    return status
