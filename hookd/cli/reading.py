"""`hookd status` and `logs`: what is deployed, and what was said on the way."""

import json
from typing import Any

import click

from hookd.cli.base import app_of, as_json, complaints, configured, console, how_to_add, records_of, stop
from hookd.cli.follow import ending_line
from hookd.cli.logs import NoLog, print_log
from hookd.cli.show import frozen, show_app, show_apps
from hookd.contract.catalogue import App
from hookd.contract.deployment import Deployment
from hookd.contract.freeze import Freeze
from hookd.contract.names import is_deployment
from hookd.store.config import Config
from hookd.store.records import NoSuchDeployment, Records


@click.command()
@click.argument("app", required=False)
@as_json
@configured
def status(config: Config, app: str | None, json_output: bool) -> None:
    """Show all apps, or one with its last deployments."""
    records = records_of(config)
    apps = (app_of(config.catalogue, app),) if app else config.catalogue.apps
    if json_output:
        shown = [
            {
                **records.view(one.name).model_dump(mode="json"),
                "frozen": _as_json(frozen(config, one)),
                "deployments": [record.model_dump(mode="json") for record in records.history(one.name, 10)],
            }
            for one in apps
        ]
        click.echo(json.dumps(shown[0] if app else shown, indent=2))
    elif app:
        states, is_stopped = _units(apps[0])
        show_app(console, config, apps[0], records, [app] if is_stopped else [])
        for state in states:
            console.print(f"  {state}", markup=False, soft_wrap=True)
    elif apps:
        show_apps(console, config, records, [one.name for one in apps if _units(one)[1]])
    else:
        console.print(how_to_add(config), markup=False, soft_wrap=True)


def _as_json(freeze: Freeze | None) -> dict[str, Any] | None:
    return freeze.model_dump(mode="json") if freeze else None


def _units(app: App) -> tuple[list[str], bool]:
    """How the app's units stand, and whether all of them are stopped, where systemd runs them."""
    if app.service.manager != "systemd":
        return [], False
    from hookd.cli.server import unit_states

    return unit_states(app)


@click.command()
@click.argument("deployment")
@click.option("--follow", "-f", "keep_on", is_flag=True, help="Stay and print what is added, until it has ended.")
@configured
def logs(config: Config, deployment: str, keep_on: bool) -> None:
    """Print the log of DEPLOYMENT, an id, or of an app's last deployment when it is an app's name."""
    records = records_of(config)
    record = _find(config, records, deployment)
    path = config.settings.log_path(record.app, record.id)
    try:
        record = print_log(path, records, record, keep_on=keep_on)
    except NoLog as error:
        stop(str(error), hint=error.hint, status=1)
    except PermissionError:
        stop(f"{path} may not be read by you", hint="run the same as the worker's user")
    complaints.print(ending_line(record), soft_wrap=True)


def _find(config: Config, records: Records, text: str) -> Deployment:
    if config.catalogue.get(text) is not None:
        last = records.history(text, 1)
        return last[0] if last else stop(f"{text} has no deployment yet", hint=f"hookd deploy {text}")
    try:
        if is_deployment(text):
            return records.get(text)
    except NoSuchDeployment:
        pass
    return stop(f"there is no deployment {text!r}", hint="hookd status")


COMMANDS = (status, logs)
