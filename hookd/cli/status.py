"""`hookd status` and `hookd logs`: the apps, their last deployments, and a deployment's log."""

import codecs
import json
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from hookd import freezes
from hookd.cli import common
from hookd.cli.progress import format_ending
from hookd.config import Config
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.app_status import AppStatus
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment
from hookd.model.eligibility import Freeze, remedy
from hookd.model.ids import is_deployment
from hookd.model.text import printable
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import DeploymentStore

MAX_DEPLOYMENTS: Final = 10
_PIECE_BYTES: Final = 64 * 1024


@click.command(epilog="Example: hookd status shop")
@common.optional_app_argument
@common.json_option
@common.needs_config
def status(config: Config, app: str | None, json_output: bool) -> None:
    """Show all apps, or one app with its last deployments."""
    store = common.open_store(config)
    apps = (common.find_app(config.catalogue, app),) if app else config.catalogue.apps
    if json_output:
        shown = [_status_json(config, one, store) for one in apps]
        click.echo(json.dumps(shown[0] if app else shown, indent=2))
    elif app:
        print_status(config, apps[0], common.read_status(store, apps[0]), units := _unit_states(apps[0]))
        for deployment in store.history(app, MAX_DEPLOYMENTS):
            common.print_markup(f"{_heading(deployment)}\n  {format_ending(deployment)}")
        for unit in units[0]:
            common.print_markup(f"  {common.safe_markup(unit)}")
    elif apps:
        for one in apps:
            _print_summary(config, one, store)
    else:
        common.print_markup(f"there is no app yet\n  next: {common.safe_markup(common.add_app_hint(config))}")


def _status_json(config: Config, app: App, store: DeploymentStore) -> dict[str, Any]:
    history = store.history(app.name, MAX_DEPLOYMENTS)
    return {**app_json(config, app, store), "deployments": [each.model_dump(mode="json") for each in history]}


def app_json(config: Config, app: App, store: DeploymentStore) -> dict[str, Any]:
    """Return an app's status and freeze for scripts."""
    freeze = active_freeze(config, app)
    frozen = freeze.model_dump(mode="json") if freeze else None
    return {**common.read_status(store, app).model_dump(mode="json"), "frozen": frozen}


def active_freeze(config: Config, app: App) -> Freeze | None:
    return freezes.active_freeze(config.frozen, app.name, datetime.now(UTC))


def _unit_states(app: App) -> tuple[list[str], bool]:
    """Return the states of the app's systemd units, and True if all are stopped."""
    if app.service.manager != "systemd":
        return [], False
    from units.cli.setup import unit_states

    return unit_states(app)


def _print_summary(config: Config, app: App, store: DeploymentStore) -> None:
    view, last = common.read_status(store, app), store.history(app.name, 1)
    common.print_markup(f"[bold]{app.name}[/]  {_versions(view, is_stopped=_unit_states(app)[1])}")
    common.print_markup(f"  {_ago(last[0].created_at)}: {format_ending(last[0])}" if last else "  no deployment yet")
    _print_lag(config, app, view)


def print_status(config: Config, app: App, view: AppStatus, units: tuple[list[str], bool] = ([], False)) -> None:
    """Print one app: its versions, its health, and the reasons of a lag."""
    common.print_markup(f"[bold]{app.name}[/]  {app.full_name}, branch {common.safe_markup(app.branch)}")
    common.print_markup(f"  {_versions(view, is_stopped=units[1])}, release {view.release or 'none'}")
    common.print_markup(f"  head seen {_ago(view.head_seen_at)}, health checked {_ago(view.checked_at)}")
    _print_lag(config, app, view)


def _print_lag(config: Config, app: App, view: AppStatus) -> None:
    """Print the drift, the lag, its reasons, and the one command that ends it."""
    freeze = active_freeze(config, app)
    if view.drift:
        common.print_markup(f"  [red]{common.safe_markup(view.drift)}[/]")
    if view.lag:
        common.print_markup(f"  [yellow]{common.safe_markup(_lag_text(view, freeze))}[/]")
    if freeze:
        common.print_markup(f"  [yellow]{common.safe_markup(str(freeze))}[/]")
    if view.pinned_commit:
        common.print_markup(f"  [yellow]pinned to {_short(view.pinned_commit)} until a newer push[/]")
    for bad in view.quarantined:
        common.print_markup(f"  quarantined {_short(bad.commit)}, {_ago(bad.since)}: {common.safe_markup(bad.cause)}")
    if command := _next_command(config, view, freeze):
        common.print_markup(f"  next: [bold]{command}[/]")


def _lag_text(view: AppStatus, freeze: Freeze | None) -> str:
    """Return the lag's sentence. A freeze has a line of its own, and may have ended since the last reconcile."""
    now = datetime.now(UTC)
    if view.lag is None:
        return ""
    if view.lag.verdict is not Verdict.FROZEN:
        return view.lag.sentence(now)
    return view.lag.distance(now) if freeze else "the freeze has ended, no deployment since"


def _next_command(config: Config, view: AppStatus, freeze: Freeze | None) -> str:
    if freeze:
        return freezes.thaw_command(config.frozen, view.app)
    if view.lag and view.lag.verdict is Verdict.FROZEN:
        return f"hookd update {view.app}"
    if view.lag and view.lag.verdict is Verdict.STOPPED:
        return ""  # The lag's reason names the command.
    if view.lag:
        return remedy(view.lag.verdict, view.app)
    if view.pinned_commit:
        return remedy(Verdict.PINNED, view.app)
    return "" if view.deployed_commit else remedy(Verdict.WAITING, view.app)


def _versions(view: AppStatus, *, is_stopped: bool) -> str:
    differs = "" if view.head == view.deployed_commit else " (differs)"
    if differs and view.head == view.skipped_commit:
        differs = " (skipped, it changes none of the app's paths)"
    health = {True: "[green]yes[/]", False: "[red]no[/]", None: "unknown"}[view.healthy]
    healthy = "[red]stopped[/]" if is_stopped else health
    return f"deployed {_short(view.deployed_commit)}, head {_short(view.head)}{differs}, healthy: {healthy}"


def _heading(deployment: Deployment) -> str:
    more = f", {deployment.coalesced} more pushes coalesced" if deployment.coalesced else ""
    return f"{deployment.id}  [dim]{deployment.trigger}, {_ago(deployment.created_at)}{more}[/]"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _ago(at: datetime | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


@click.command(epilog="Example: hookd logs shop --follow")
@click.argument("deployment", metavar="DEPLOYMENT|APP", shell_complete=common.complete_app)
@click.option("--follow", "-f", is_flag=True, help="Print new lines until the deployment ends.")
@common.needs_config
def logs(config: Config, deployment: str, follow: bool) -> None:
    """Print the log of a deployment, or of an app's last one."""
    store = common.open_store(config)
    found = _find_deployment(config, store, deployment)
    found = _print_log(config.settings.log_path(found.app, found.id), store, found, follow=follow)
    common.error_console.print(format_ending(found), soft_wrap=True)


def _find_deployment(config: Config, store: DeploymentStore, text: str) -> Deployment:
    if config.catalogue.get(text) is not None:
        last = store.history(text, 1)
        return last[0] if last else common.fail(f"{text} has no deployment yet", hint=f"hookd deploy {text}")
    try:
        if is_deployment(text):
            return store.get(text)
    except NoSuchDeployment:
        pass
    return common.fail(f"there is no deployment {text!r}", hint="hookd status")


def _print_log(path: Path, store: DeploymentStore, deployment: Deployment, *, follow: bool) -> Deployment:
    """Print the log and return the deployment. With `follow`, wait for its ending."""
    while not path.exists() and follow and not deployment.ended:
        time.sleep(0.1)
        deployment = store.get(deployment.id)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with _open_log(path, deployment) as file:
        while True:
            deployment = store.get(deployment.id)
            # The log has no size limit, so it is read in pieces.
            while piece := file.read(_PIECE_BYTES):
                click.echo(printable(decoder.decode(piece), keep="\n\t"), nl=False)
            if deployment.ended or not follow:
                click.echo(decoder.decode(b"", final=True), nl=False)
                return deployment
            time.sleep(0.1)


def _open_log(path: Path, deployment: Deployment) -> BinaryIO:
    try:
        return open_regular_file(path)
    except FileNotFoundError:
        yet = "" if deployment.ended else " yet"
        common.fail(f"there is no log of {deployment.id}{yet}", hint=f"hookd logs {deployment.id} --follow", status=1)
    except PermissionError:
        common.fail(f"you may not read {path}", hint=common.sudo_command())
    except OSError as error:
        listing = shlex.join(("sudo", "ls", "-ld", str(path.parent), str(path)))
        common.fail(f"{path} cannot be read as a log: {error.strerror}", hint=listing, status=1)


COMMANDS = (status, logs)
