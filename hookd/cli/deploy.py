"""`hookd deploy`, `update`, `rollback`, `unpin`: request a deployment, show it, and exit with its ending's status."""

import json
import sys
import time
from typing import NoReturn

import click

from hookd import freezes
from hookd.cli import common
from hookd.cli.progress import EXIT_CODES, follow_deployment
from hookd.cli.status import active_freeze
from hookd.config import Config
from hookd.model.app import App
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.ids import is_abbreviation
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import DeploymentRequest, DeploymentStore


@click.command(epilog="Example: hookd deploy shop --commit 1869b1db108b")
@common.app_argument
@click.option("--commit", help="Deploy this commit instead of the head, and pin it.")
@common.wait_option
@common.json_option
@common.needs_config
def deploy(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Deploy the branch's head, even if it serves already."""
    _check_and_request(config, app, Trigger.MANUAL, commit, wait=wait, json_output=json_output)


@click.command(epilog="Example: hookd update shop")
@common.app_argument
@common.wait_option
@common.json_option
@common.needs_config
def update(config: Config, app: str, wait: bool, json_output: bool) -> None:
    """Deploy the head as a push would, if it is new."""
    _check_and_request(config, app, Trigger.UPDATE, None, wait=wait, json_output=json_output)


@click.command(epilog="Example: hookd rollback shop")
@common.app_argument
@click.option("--to", "commit", help="An earlier commit, default: the last good one.")
@common.wait_option
@common.json_option
@common.needs_config
def rollback(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Return to the previous release and pin it.

    Each further rollback goes one release back. The pin ends with a newer push or `hookd unpin`.
    """
    _check_and_request(config, app, Trigger.ROLLBACK, commit, wait=wait, json_output=json_output)


@click.command(epilog="Example: hookd unpin shop")
@common.app_argument
@common.wait_option
@common.json_option
@common.needs_config
def unpin(config: Config, app: str, wait: bool, json_output: bool) -> None:
    """Follow the branch again after a rollback or a chosen commit."""
    known = common.find_app(config.catalogue, app)
    if not json_output and not common.read_status(common.open_store(config), known).pinned_commit:
        common.print_markup(f"{known.name} is not pinned, so this is an update")
    _check_and_request(config, app, Trigger.UNPIN, None, wait=wait, json_output=json_output)


def _check_and_request(
    config: Config, name: str, trigger: Trigger, commit: str | None, *, wait: bool, json_output: bool
) -> NoReturn:
    app = common.find_app(config.catalogue, name)
    if commit is not None and not is_abbreviation(commit):
        common.fail(f"{commit!r} is not a commit: 7 to 64 digits 0-9a-f", hint=f"git log --oneline origin/{app.branch}")
    if freeze := active_freeze(config, app):
        common.fail(f"{app.name} is {freeze}", hint=freezes.thaw_command(config.frozen, app.name))
    request_deployment(config, app, trigger, commit, wait=wait, json_output=json_output)


def request_deployment(
    config: Config, app: App, trigger: Trigger, commit: str | None, *, wait: bool, json_output: bool
) -> NoReturn:
    """Request a deployment, show it, and exit with its ending's status."""
    store = common.open_store(config, reads=False)
    request = DeploymentRequest(app=app.name, trigger=trigger, seconds=app.limits.deploy_seconds, pinned_commit=commit)
    show_and_exit(config, store, store.request(request).deployment, wait=wait, json_output=json_output)


def run_deploy(name: str, commit: str | None = None) -> int:
    """Run `hookd deploy` in this process and return its exit status."""
    sys.stdout.flush()
    pinned = ["--commit", commit] if commit else []
    try:
        deploy.main(args=[name, *pinned], prog_name="hookd deploy")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def show_and_exit(
    config: Config, store: DeploymentStore, deployment_id: str, *, wait: bool, json_output: bool
) -> NoReturn:
    """Show a deployment and exit with its ending's status."""
    try:
        deployment = _show(config, store, deployment_id, wait=wait, json_output=json_output)
    except NoSuchDeployment:
        common.fail(f"there is no deployment {deployment_id!r}", hint="hookd status", status=1)
    except KeyboardInterrupt:
        hint = f"hookd logs {deployment_id} --follow"
        common.fail("interrupted, the deployment goes on", hint=hint, status=common.INTERRUPTED)
    sys.exit(EXIT_CODES.get(deployment.status, 0))


def _show(config: Config, store: DeploymentStore, deployment_id: str, *, wait: bool, json_output: bool) -> Deployment:
    if json_output:
        deployment = _await_ending(store, deployment_id) if wait else store.get(deployment_id)
        click.echo(json.dumps(deployment.model_dump(mode="json"), indent=2))
        return deployment
    url = config.settings.status_url(deployment_id)
    common.print_markup(f"[bold]{common.safe_markup(deployment_id)}[/]  {common.safe_markup(url)}")
    if not wait:
        return store.get(deployment_id)
    deployment = follow_deployment(store, deployment_id, common.console, common.start_command("worker", config))
    if (deployment.trigger, deployment.status) == (Trigger.ROLLBACK, Status.SUCCEEDED):
        common.print_markup(f"  pinned until a newer push, or: hookd unpin {deployment.app}")
    return deployment


def _await_ending(store: DeploymentStore, deployment_id: str) -> Deployment:
    while not (deployment := store.get(deployment_id)).ended:
        time.sleep(0.1)
    return deployment


COMMANDS = (deploy, update, rollback, unpin)
