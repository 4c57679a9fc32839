"""`hookd deploy`, `update`, `rollback`, `unpin`: ask for a deployment, watch it, and say by the status how it went."""

import json
import sys
import time
from typing import NoReturn

import click

from hookd import freezes
from hookd.cli.common import (
    INTERRUPTED,
    as_json,
    console,
    find_app,
    needs_config,
    open_records,
    start_commands,
    stop,
    wait_option,
)
from hookd.cli.progress import EXIT_CODES, follow_deployment
from hookd.cli.safe_text import sanitize_markup
from hookd.cli.status import frozen
from hookd.config import Config
from hookd.model.app import App
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.ids import is_abbreviation
from hookd.queue.app_status import AppStatusStore
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from hookd.receiver.status_routes import status_url


@click.command()
@click.argument("app")
@click.option("--commit", help="Deploy this commit of the branch instead of its head, and stay there.")
@wait_option
@as_json
@needs_config
def deploy(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Bring APP to its branch's head, even if it is there already."""
    _check_and_request(config, app, Trigger.MANUAL, commit, wait=wait, json_output=json_output)


@click.command()
@click.argument("app")
@wait_option
@as_json
@needs_config
def update(config: Config, app: str, wait: bool, json_output: bool) -> None:
    """Deploy what is new on APP's branch, as a push would; nothing happens when there is nothing new."""
    _check_and_request(config, app, Trigger.UPDATE, None, wait=wait, json_output=json_output)


@click.command()
@click.argument("app")
@click.option("--to", "commit", help="The commit to go back to; default: the good one before.")
@wait_option
@as_json
@needs_config
def rollback(config: Config, app: str, commit: str | None, wait: bool, json_output: bool) -> None:
    """Bring APP back to an earlier release, each time one further, and stay there until a newer commit is pushed."""
    _check_and_request(config, app, Trigger.ROLLBACK, commit, wait=wait, json_output=json_output)


@click.command()
@click.argument("app")
@wait_option
@as_json
@needs_config
def unpin(config: Config, app: str, wait: bool, json_output: bool) -> None:
    """Follow APP's branch again, after a rollback or a commit that was chosen: its head is deployed as by a push."""
    known = find_app(config.catalogue, app)
    if not json_output and not AppStatusStore(open_records(config).connection).read(known.name).pinned_commit:
        console.print(f"{known.name} is not pinned: this is as an update", soft_wrap=True)
    _check_and_request(config, app, Trigger.UNPIN, None, wait=wait, json_output=json_output)


def _check_and_request(
    config: Config, name: str, trigger: Trigger, commit: str | None, *, wait: bool, json_output: bool
) -> NoReturn:
    app = find_app(config.catalogue, name)
    if commit is not None and not is_abbreviation(commit):
        stop(f"{commit!r} is no commit: 7 to 64 of the digits 0-9a-f", hint=f"git log --oneline origin/{app.branch}")
    if freeze := frozen(config, app):
        stop(f"{app.name} is {freeze}", hint=freezes.thaw_command(config.frozen, app.name))
    request_deployment(config, app, trigger, commit, wait=wait, json_output=json_output)


def request_deployment(
    config: Config, app: App, trigger: Trigger, commit: str | None, *, wait: bool, json_output: bool
) -> NoReturn:
    """Ask for a deployment, show it, and end with the status that says how it went."""
    records = open_records(config, reads=False)
    request = DeploymentRequest(app=app.name, trigger=trigger, seconds=app.limits.deploy_seconds, pinned_commit=commit)
    show_and_exit(config, records, records.request(request).deployment, wait=wait, json_output=json_output)


def run_deploy(name: str, commit: str | None = None) -> int:
    """Do as `hookd deploy` does, and return its exit status."""
    sys.stdout.flush()
    pinned = ["--commit", commit] if commit else []
    try:
        deploy.main(args=[name, *pinned], prog_name="hookd deploy")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def show_and_exit(
    config: Config, records: DeploymentStore, deployment_id: str, *, wait: bool, json_output: bool
) -> NoReturn:
    """Show a deployment as asked for and end with the status that says how it went."""
    try:
        record = _shown(config, records, deployment_id, wait=wait, json_output=json_output)
    except NoSuchDeployment:
        stop(f"there is no deployment {deployment_id!r}", hint="hookd status", status=1)
    except KeyboardInterrupt:
        stop(
            "no longer watching; the deployment goes on",
            hint=f"hookd logs {deployment_id} --follow",
            status=INTERRUPTED,
        )
    sys.exit(EXIT_CODES.get(record.status, 0))


def _shown(
    config: Config, records: DeploymentStore, deployment_id: str, *, wait: bool, json_output: bool
) -> Deployment:
    if json_output:
        record = _wait(records, deployment_id) if wait else records.get(deployment_id)
        click.echo(json.dumps(record.model_dump(mode="json"), indent=2))
        return record
    console.print(
        f"[bold]{sanitize_markup(deployment_id)}[/]  {sanitize_markup(status_url(config, deployment_id))}",
        soft_wrap=True,
    )
    if wait:
        record = follow_deployment(records, deployment_id, console, start_commands(config).worker)
        if (record.trigger, record.status) == (Trigger.ROLLBACK, Status.SUCCEEDED):
            console.print(f"  it stays until a newer commit is pushed, or: hookd unpin {record.app}", soft_wrap=True)
        return record
    return records.get(deployment_id)


def _wait(records: DeploymentStore, deployment_id: str) -> Deployment:
    while not (record := records.get(deployment_id)).ended:
        time.sleep(0.1)
    return record


COMMANDS = (deploy, update, rollback, unpin)
