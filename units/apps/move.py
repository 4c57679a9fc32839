"""Gives an app's files to its new user and group. The app is stopped meanwhile, because neither user could work."""

from collections.abc import Iterator
from contextlib import contextmanager

from hookd.files.ownership.audit import audit
from hookd.files.ownership.policies import Policy, data_policy
from hookd.files.ownership.repair import AttributeMismatch, links_are_protected, protection_command
from hookd.model.app import App
from hookd.model.settings import AppPaths, Settings
from units.apps.accounts.users import account_changes
from units.apps.permissions import check_permissions
from units.apps.running import services
from units.apps.running.lock import app_lock
from units.changes.apply import Installer
from units.changes.manifest import Manifest
from units.system import disk
from units.system.errors import Refused


def must_move(old: App, app: App, manifest: Manifest) -> bool:
    """Return True if an app's files belong to another user or group than its own. A killed move is continued."""
    if not app.uses_systemd:
        return False
    same = (old.ownership.user, old.ownership.group) == (app.ownership.user, app.ownership.group)
    return not same or _marker(app) in manifest.pending


def _marker(app: App) -> tuple[str, ...]:
    """Return the command that stands for a move in the manifest until its end."""
    return ("hookd", "permissions", app.name, "--fix")


@contextmanager
def moving(app: App, settings: Settings, manifest: Manifest, installer: Installer) -> Iterator[None]:
    """Stop the app, make its user and group, give its files to them, and start it again after the block.

    Raises Refused before any change, HostError while a deployment runs, and CommandFailed.
    """
    line = f"+ move       {app.name} to {app.ownership.user}:{app.ownership.group}, while it is stopped"
    if installer.dry_run:
        installer.echo(line)
        yield
        return
    _check_links(app)
    with app_lock(app, settings, "move"):
        starts = _marker(app) in manifest.pending or bool(services.active_services(app))
        installer.echo(line)
        manifest.add_pending(_marker(app))
        services.stop(app)
        installer.apply(account_changes(app))
        for finding in give_files(app, settings):
            installer.echo(f"  stays: {finding}")
    yield
    if starts and disk.status(AppPaths(app, settings).current) is not None:
        services.start(app)
    manifest.mark_done(_marker(app))


def give_files(app: App, settings: Settings) -> Iterator[str]:
    """Give data to the app's user and code to its group. Return the paths that stay as they are."""
    owner = data_policy(app.ownership)
    for name in app.shared.directories:
        for finding in audit(app.data_root / name, Policy(owner.owner, owner.group), repairs=True):
            if not (isinstance(finding, AttributeMismatch) and finding.repaired):
                yield str(finding)
    yield from map(str, check_permissions(app, settings, fix=True).left)


def _check_links(app: App) -> None:
    """Raise Refused if links in the app's data could mislead root."""
    if app.shared.directories and not links_are_protected():
        cause = f"the kernel lets users link files of others into {app.name}'s data"
        raise Refused([cause], hint=protection_command())
