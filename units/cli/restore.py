"""`hookd restore`: lists an app's backups, and puts one back."""

import click

from hookd.cli.common import app_argument, fail, find_app, needs_config, print_line, print_next
from hookd.cli.freeze import format_time
from hookd.cli.person import current_user, log_decision
from hookd.cli.programs import start_restore
from hookd.commands import edit_command
from hookd.config import Config
from hookd.files.backups import Backup, list_backups
from hookd.model.app import App
from hookd.model.decision import Verdict
from hookd.model.settings import AppPaths
from hookd.model.units.backup import backup_kind
from units.apps.running.restore import RestoreFailed
from units.apps.running.restore import restore as restore_backup
from units.cli.common import FAILED, requires_root, yes_option


@click.command(epilog="Example: sudo hookd restore shop --list")
@app_argument
@click.argument("release", required=False)
@click.option("--list", "is_list", is_flag=True, help="Show the backups and change nothing.")
@yes_option
@needs_config
def restore(config: Config, app: str, release: str | None, is_list: bool, yes: bool) -> None:
    """Stop an app, put a backup of its data back, and start it again.

    RELEASE names the backup, default: the newest. Each is from before the release commands of that release.
    """
    known = find_app(config.catalogue, app)
    # On a server only root opens the backups. With circus they belong to the user who deploys.
    run = requires_root(_restore) if _is_on_server(known) else _restore
    run(config, known, release, is_list=is_list, yes=yes)


def _restore(config: Config, app: App, release: str | None, *, is_list: bool, yes: bool) -> None:
    directory = AppPaths(app, config.settings).backups
    backups = list_backups(directory)
    if not backups:
        hint = f"hookd status {app.name}" if app.release.backup else _edit_call(config, app)
        fail(f"there is no backup of {app.name} in {directory}", hint=hint)
    if is_list:
        for backup in backups:
            print_line(_describe(backup))
        print_next(f"{_call(app)} {app.name} {backups[0].release}")
        return
    chosen = _choose(config, app, backups, release)
    print_line(_describe(chosen))
    if not yes:
        click.confirm(f"Stop {app.name} and put these data back? What was written since then is lost.", abort=True)
    person = current_user()
    if not _is_on_server(app):
        start_restore(config, app.name, chosen.release, person)
    try:
        restore_backup(app, config.settings, chosen, print_line)
    except RestoreFailed as error:
        fail(str(error), hint=error.hint, status=FAILED)
    log_decision(config, app.name, Verdict.RESTORED, f"{person} restored the backup {chosen.release}")


def _choose(config: Config, app: App, backups: list[Backup], release: str | None) -> Backup:
    """Return the backup of a release, or the newest. End the command for another kind than the app's."""
    found = [backup for backup in backups if release in (None, backup.release)]
    if not found:
        fail(f"there is no backup {release!r} of {app.name}", hint=f"{_call(app)} {app.name} --list")
    if app.release.backup is None or found[0].kind != backup_kind(app):
        text = f"release.backup of {app.name} is not of the kind of this backup ({found[0].kind})"
        fail(text, hint=_edit_call(config, app))
    return found[0]


def _is_on_server(app: App) -> bool:
    return app.uses_systemd


def _call(app: App) -> str:
    return "sudo hookd restore" if _is_on_server(app) else "hookd restore"


def _edit_call(config: Config, app: App) -> str:
    file = config.apps / f"{app.name}.toml"
    return f"sudo hookd app edit {app.name}" if _is_on_server(app) else edit_command(str(file))


def _describe(backup: Backup) -> str:
    size = f"{backup.size / 1024 / 1024:,.1f} MiB"
    return f"{backup.release}  {format_time(backup.made_at):<40}  {size:>12}  {backup.kind}"
