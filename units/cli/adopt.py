"""`hookd app adopt`: takes over a project that is deployed by hand, and says first what it will do."""

import sys
from pathlib import Path
from typing import Any

import click

from hookd.cli.deploy import run_deploy
from units.adopt import state
from units.adopt.decide import decide
from units.adopt.describe import describe_plan, describe_result
from units.adopt.discover import discover
from units.adopt.discovery.untracked import PathChoices
from units.adopt.execute import AdoptionExecutor
from units.adopt.facts import AdoptOptions
from units.adopt.prepare import full_plan, prepare, shared_file_changes
from units.adopt.state import Adoption, Stage
from units.apps.git_access import check_access
from units.apps.manage import Server
from units.cli.apps import prepare_repository_access, print_webhook_settings
from units.cli.common import dry_run, host_lock, load_server, print_line, require_setup, requires_root
from units.plan.apply import Installer
from units.system import layout
from units.system.errors import HostError, Refused


@click.command("adopt")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", help="What the app is called; default: the directory's name.")
@click.option("--unit", help="Its systemd unit; default: the one that runs in the directory.")
@click.option("--repo", "repository", help="Default: the checkout's remote.")
@click.option("--branch", help="Default: the branch that the checkout follows.")
@click.option("--full-name", help="OWNER/NAME as the git host calls it; default: the end of the URL.")
@click.option("--sender", type=click.Choice(["github", "gitea", "forgejo", "gogs"]), help="Default: by the host.")
@click.option("--health", help="The page that answers 200 when the app is well; default: /healthz, /health or /.")
@click.option("--entry", help="The WSGI callable; default: the one that runs.")
@click.option(
    "--policy", type=click.Choice(["group", "split", "acl"]), help="Default: by who can read the directory now."
)
@click.option("--data", multiple=True, metavar="NAME", help="A directory that the app writes to.")
@click.option("--file", "files", multiple=True, metavar="NAME", help="A file that releases read.")
@click.option("--leave", multiple=True, metavar="NAME", help="Stays where it is; no release sees it.")
@click.option("--leave-changes", is_flag=True, help="Changes against the commit stay behind, out of the release.")
@click.option(
    "--accept-pause", is_flag=True, help="Visitors who come straight to gunicorn are refused or cut off for a moment."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run
@requires_root
def adopt_app(directory: Path, yes: bool, dry_run: bool, **options: Any) -> None:
    """Take over the project in DIRECTORY, with its .env, its data and its unit, without a pause."""
    require_setup()
    wanted = _options(directory, options)
    half_way, shown = _half_way(wanted), None
    if half_way and dry_run:
        raise HostError(f"{half_way.name} is half taken over", hint=f"sudo hookd app adopt {directory} (it goes on)")
    if dry_run or not (yes or half_way):
        shown = _decided(load_server(), wanted)
    if dry_run:
        return
    if shown:
        click.confirm("\nTake it over?", abort=True)
    with host_lock() as server:
        if half_way := _half_way(wanted):
            _go_on(AdoptionExecutor(server, half_way, print_line))
        else:
            _adopt(server, _decided(server, wanted, shown))


def _half_way(wanted: AdoptOptions) -> Adoption | None:
    """The adoption that was cut off and is to go on; raises Refused when nothing is left to do."""
    found = state.load(wanted.app)
    if found is not None and found.stage is Stage.DONE:
        raise Refused([f"{found.name} was taken over already"], hint=f"sudo hookd status {found.name}")
    return found if found is not None and found.stage is Stage.OPENED and found.root == wanted.root else None


def _options(directory: Path, options: dict[str, Any]) -> AdoptOptions:
    wishes = PathChoices(
        *(frozenset(name.strip("/") for name in options.pop(key)) for key in ("data", "files", "leave"))
    )
    return AdoptOptions(root=directory, wishes=wishes, **options)


def _decided(server: Server, wanted: AdoptOptions, shown: Adoption | None = None) -> Adoption:
    """Look, decide and say what will be done; raises Refused when it is not what was `shown` before."""
    facts = discover(wanted)
    adoption = decide(facts, server.catalogue, server.manifest)
    if shown is None:
        plan = full_plan(adoption, server.host)
        own = Installer(server.manifest, layout.app_scope(adoption.name), print_line)
        own.check(plan)
        changes = (*own.differences(plan), *shared_file_changes(adoption))
        for line in describe_plan(facts, adoption, tuple(f"+ {change}" for change in changes)):
            print_line(line)
    elif adoption != shown:
        raise Refused([f"{wanted.root} changed since you were asked"], hint="the same command again")
    return adoption


def _adopt(server: Server, adoption: Adoption) -> None:
    prepare(adoption, server, print_line)
    app = adoption.bridge
    print_webhook_settings(server, app, prepare_repository_access(app))
    if problem := check_access(app.name):
        print_line(f"\nThe repository cannot be read yet: {problem}\n  nothing has changed for visitors")
        print_line(f"  next: paste the key, then the same command again: sudo hookd app adopt {adoption.root}")
        sys.exit(1)
    steps = AdoptionExecutor(server, adoption, print_line)
    print_line("\nThe first release:")
    steps.first_release(lambda commit: run_deploy(app.name, commit))
    _go_on(steps)


def _go_on(steps: AdoptionExecutor) -> None:
    steps.open_door()
    steps.switch_unit()
    for line in describe_result(steps.adoption):
        print_line(line)
