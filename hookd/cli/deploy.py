"""`hookd deploy`, `update`, `rollback`, `unpin`: request a deployment, show it, and exit with its ending's status."""

import json
import sys
import time
from typing import NoReturn

import click

from hookd.cli import common
from hookd.cli.progress import EXIT_CODES, POLL_SECONDS, follow_deployment
from hookd.config import Config
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.ids import is_abbreviation
from hookd.model.text import printable
from hookd.queue.deployments import DeploymentRequest, DeploymentStore, NoSuchDeployment
from hookd.queue.published import read_status


@click.command(epilog="Example: hookd deploy shop --commit 1869b1db108b")
@common.app_argument
@click.option("--commit", help="Deploy this commit instead of the head, and pin it.")
@click.option("--fresh", is_flag=True, help="Build a new environment, also where the old one fits.")
@common.wait_option
@common.json_option
@common.needs_config
def deploy(config: Config, app: str, commit: str | None, *, fresh: bool, wait: bool, as_json: bool) -> None:
    """Deploy the branch's head, even if it serves already."""
    request_deployment(config, app, Trigger.MANUAL, commit, fresh=fresh, wait=wait, as_json=as_json)


@click.command(epilog="Example: hookd update shop")
@common.app_argument
@common.wait_option
@common.json_option
@common.needs_config
def update(config: Config, app: str, wait: bool, as_json: bool) -> None:
    """Deploy the head as a push would, if it is new."""
    request_deployment(config, app, Trigger.UPDATE, wait=wait, as_json=as_json)


@click.command(epilog="Example: hookd rollback shop")
@common.app_argument
@click.option("--to", "commit", help="An earlier commit, default: the previous release's.")
@common.wait_option
@common.json_option
@common.needs_config
def rollback(config: Config, app: str, commit: str | None, wait: bool, as_json: bool) -> None:
    """Return to the previous release and pin it.

    Each further rollback goes one release back. The pin ends with a newer push or `hookd unpin`.
    """
    request_deployment(config, app, Trigger.ROLLBACK, commit, wait=wait, as_json=as_json)


@click.command(epilog="Example: hookd unpin shop")
@common.app_argument
@common.wait_option
@common.json_option
@common.needs_config
def unpin(config: Config, app: str, wait: bool, as_json: bool) -> None:
    """Follow the branch again after a rollback or a chosen commit."""
    known = common.find_app(config.catalogue, app)
    view = read_status(common.open_store(config, reads=False).connection, app)
    if view.deployed_commit and not view.pinned_commit and not common.active_freeze(config, known):
        common.fail(f"{app} is not pinned", hint=f"hookd update {app}")
    request_deployment(config, app, Trigger.UNPIN, wait=wait, as_json=as_json)


def request_deployment(
    config: Config,
    name: str,
    trigger: Trigger,
    commit: str | None = None,
    *,
    fresh: bool = False,
    wait: bool,
    as_json: bool = False,
) -> NoReturn:
    """Request a deployment of an app that is not frozen, show it, and exit with its ending's status."""
    app = common.find_app(config.catalogue, name)
    if commit is not None and not is_abbreviation(commit):
        common.fail(f"{commit!r} is not a commit: 7 to 64 digits 0-9a-f", hint=f"git log --oneline origin/{app.branch}")
    if freeze := common.active_freeze(config, app):
        common.fail(f"{name} is {freeze}", hint=f"hookd thaw {name}")
    store = common.open_store(config, reads=False)
    for bad in read_status(store.connection, name).quarantined if commit else ():
        if bad.commit.startswith(commit or ""):
            common.print_line(f"{commit} has been quarantined: {printable(bad.cause)}", err=True)
    request = DeploymentRequest(app=name, trigger=trigger, seconds=app.job_seconds, pinned_commit=commit, fresh=fresh)
    result = store.request(request)
    if result.verdict is Verdict.COALESCED:
        common.print_line("a deployment waits already, and serves this request too", err=True)
    show_and_exit(config, store, result.deployment, wait=wait, as_json=as_json)


def show_and_exit(config: Config, store: DeploymentStore, deployment_id: str, *, wait: bool, as_json: bool) -> NoReturn:
    """Show a deployment and exit with its ending's status."""
    try:
        deployment = _show(config, store, deployment_id, wait=wait, as_json=as_json)
    except NoSuchDeployment:
        common.fail(f"there is no deployment {deployment_id!r}", hint="hookd status", status=1)
    except KeyboardInterrupt:
        click.echo(err=True)  # The terminal's ^C stands in the last line.
        hint = f"hookd logs {deployment_id} --follow"
        common.fail("interrupted, the deployment goes on", hint=hint, status=common.INTERRUPTED)
    sys.exit(EXIT_CODES.get(deployment.status, 0))


def _show(config: Config, store: DeploymentStore, deployment_id: str, *, wait: bool, as_json: bool) -> Deployment:
    if as_json:
        deployment = store.get(deployment_id)
        while wait and not deployment.ended:
            time.sleep(POLL_SECONDS)
            deployment = store.get(deployment_id)
        click.echo(json.dumps(deployment.model_dump(mode="json"), indent=2))
        return deployment
    url = f"  {printable(config.settings.status_url(deployment_id))}" if config.settings.receiver.public_url else ""
    click.echo(common.styled(deployment_id, bold=True) + url)
    if not wait:
        return store.get(deployment_id)
    deployment = follow_deployment(config, store, deployment_id)
    if deployment.trigger is Trigger.ROLLBACK and deployment.status is Status.SUCCEEDED:
        _print_data_note(config, deployment.app)
    chosen = deployment.trigger is Trigger.ROLLBACK or deployment.pinned_commit is not None
    is_good = chosen and deployment.status is Status.SUCCEEDED
    if is_good and read_status(store.connection, deployment.app).pinned_commit:
        click.echo("  pinned until a newer push")
        common.print_next(f"hookd unpin {deployment.app}")
    return deployment


def _print_data_note(config: Config, name: str) -> None:
    """Print that a rollback leaves the database alone, and the command that restores its backups."""
    app = config.catalogue.get(name)
    if app is None or not app.release.commands:
        return
    click.echo("  the database stays as it is")
    if app.release.backup:
        sudo = "sudo " if app.uses_systemd else ""
        common.print_next(f"{sudo}hookd restore {name} --list")
