"""`hookd app adopt`: adopts a project that is deployed by hand, after showing the changes."""

import sys
from pathlib import Path
from typing import Any

import click

from hookd.cli.common import print_line, print_next
from units.adopt import state
from units.adopt.decide import decide
from units.adopt.describe import describe_adoption, describe_result
from units.adopt.discover import AdoptOptions, discover
from units.adopt.discovery.untracked import UntrackedKind
from units.adopt.edits import with_edits
from units.adopt.execute import AdoptionExecutor
from units.adopt.prepare import all_changes, prepare, shared_file_changes
from units.adopt.state import Adoption, Stage
from units.apps.manage import Server
from units.apps.repository.git_access import check_access
from units.changes.apply import Installer
from units.cli import common
from units.cli.app.shared import prepare_repository_access, print_unreadable, print_webhook_settings, sender_option
from units.system import layout
from units.system.errors import HostError, Refused


@click.command(epilog="Example: sudo hookd app adopt /srv/shop --dry-run")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", help="The app's name, default: the directory's.")
@click.option("--unit", help="Its systemd unit, default: the one that runs in the directory.")
@click.option("--repo", "repository", help="Default: the checkout's remote.")
@click.option("--branch", help="Default: the checkout's branch.")
@click.option("--full-name", help="OWNER/NAME at the git host, default: the end of the URL.")
@sender_option
@click.option("--health", help="The page that answers 200 if the app is healthy, default: /healthz, /health or /.")
@click.option("--policy", type=click.Choice(["group", "split", "acl"]), help="Default: from the directory's modes.")
@click.option("--data", multiple=True, metavar="NAME", help="A directory that the app writes to.")
@click.option("--file", "files", multiple=True, metavar="NAME", help="A file that releases read.")
@click.option("--leave", multiple=True, metavar="NAME", help="A path that no release gets.")
@click.option("--leave-changes", is_flag=True, help="Deploy the commit without the local changes.")
@common.yes_option
@common.dry_run_option
@common.requires_root
def adopt(directory: Path, yes: bool, dry_run: bool, **options: Any) -> None:
    """Adopt the project in DIRECTORY without a pause.

    Takes its .env, its data and its systemd unit. An interrupted adoption continues with the same command.
    """
    common.require_setup()
    wanted = _options(directory, options)
    started, shown = _started_adoption(wanted), None
    if started and dry_run:
        raise HostError(f"the adoption of {started.name} has started", hint=wanted.command)
    if dry_run or not (yes or started):
        shown = _decide(common.load_server(), wanted)
    if dry_run:
        return
    if shown:
        click.confirm("\nAdopt it?", abort=True)
    with common.host_lock() as server:
        if started := _started_adoption(wanted):
            _switch(AdoptionExecutor(server.host, server.manifest, started, print_line))
        else:
            _adopt(server, _decide(server, wanted, shown), wanted.command)


def _started_adoption(wanted: AdoptOptions) -> Adoption | None:
    """Return the adoption that an interrupted command began. Raises Refused if it is complete."""
    found = state.load(wanted.name)
    if found is not None and found.stage is Stage.DONE:
        raise Refused([f"{found.name} is adopted already"], hint=f"sudo hookd status {found.name}")
    return found if found is not None and found.stage is Stage.OPENED and found.root == wanted.root else None


def _options(directory: Path, options: dict[str, Any]) -> AdoptOptions:
    kinds: dict[str, UntrackedKind] = {"files": "file", "data": "data", "leave": "left"}
    choices = {name.strip("/"): kind for key, kind in kinds.items() for name in options.pop(key)}
    name = options.pop("name") or directory.name
    return AdoptOptions(directory, name, choices=choices, **options)


def _decide(server: Server, wanted: AdoptOptions, shown: Adoption | None = None) -> Adoption:
    """Decide and print the adoption. Raises Refused if it differs from the one that was `shown`."""
    facts = discover(wanted)
    adoption = with_edits(decide(facts, server.catalogue, server.manifest), state.load(wanted.name))
    if shown is None:
        changes = all_changes(adoption, server.host)
        installer = Installer(server.manifest, layout.app_scope(adoption.name), print_line)
        installer.check(changes)
        preview = (*installer.differences(changes), *shared_file_changes(adoption))
        for line in describe_adoption(facts, adoption, tuple(f"+ {change}" for change in preview)):
            print_line(line)
    elif adoption != shown:
        raise Refused([f"{wanted.root} changed meanwhile"])
    return adoption


def _adopt(server: Server, adoption: Adoption, again: str) -> None:
    prepare(adoption, server, print_line, again)
    app = adoption.interim_app
    print_webhook_settings(server, app, prepare_repository_access(app))
    if problem := check_access(app.name):
        print_unreadable(problem)
        print_line("  nothing has changed for visitors, paste the key")
        print_next(again)
        sys.exit(1)
    executor = AdoptionExecutor(server.host, server.manifest, adoption, print_line)
    print_line("\nThe first release:")
    executor.deploy_first_release(lambda commit: common.run_deploy(app.name, commit))
    _switch(executor)


def _switch(executor: AdoptionExecutor) -> None:
    executor.open_public_socket()
    executor.switch_unit()
    for line in describe_result(executor.adoption):
        print_line(line)
