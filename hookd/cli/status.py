"""`hookd status` and `hookd logs`: the apps, their last deployments, and a deployment's log."""

import codecs
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
from redis.exceptions import NoPermissionError

from hookd.cli import common
from hookd.cli.common import print_line, styled
from hookd.cli.journal import show_journal
from hookd.cli.progress import explain_wait, format_ending
from hookd.commands import edit_command
from hookd.config import Config
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.decision import NOTHING_DEPLOYED, Freeze, Lag, Verdict, remedy
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status
from hookd.model.hint import Hint, HintKind, render_hint
from hookd.model.text import format_duration, printable
from hookd.model.written import WrittenFiles
from hookd.queue.deployments import DeploymentStore
from hookd.queue.published import AppStatus, read_status

if TYPE_CHECKING:
    from units.system.systemd import Unit

MAX_DEPLOYMENTS: Final = 10
_PIECE_BYTES: Final = 64 * 1024


@click.command(epilog="Example: hookd status shop")
@common.optional_app_argument
@common.json_option
@common.needs_config
def status(config: Config, app: str | None, as_json: bool) -> None:
    """Show all apps, or one app with its last deployments."""
    store = common.open_store(config)
    apps = (common.find_app(config.catalogue, app),) if app else config.catalogue.apps
    if as_json:
        shown = [_status_json(config, known, store) for known in apps]
        click.echo(json.dumps(shown[0] if app else shown, indent=2))
    elif app:
        print_status(config, apps[0], read_status(store.connection, app), store, units := _read_units(apps[0]))
        for deployment in store.history(app, MAX_DEPLOYMENTS):
            click.echo(f"{_heading(deployment)}\n  {format_ending(deployment)}")
        for unit in units:
            print_line(f"  {unit}")
    elif apps:
        for known in apps:
            _print_summary(config, known, store)
    else:
        add = "sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git"
        print_line("there is no app yet")
        common.print_next(add if config.is_server else edit_command(str(config.apps / "NAME.toml")))


def _status_json(config: Config, app: App, store: DeploymentStore) -> dict[str, Any]:
    history = store.history(app.name, MAX_DEPLOYMENTS)
    return {**app_json(config, app, store), "deployments": [each.model_dump(mode="json") for each in history]}


def app_json(config: Config, app: App, store: DeploymentStore) -> dict[str, Any]:
    """Return an app's status and freeze for scripts."""
    return read_status(store.connection, app.name).to_json(common.active_freeze(config, app))


def _read_units(app: App) -> "Sequence[Unit]":
    """Return the states of the app's systemd units."""
    if not app.uses_systemd:
        return ()
    from units.apps.running.services import unit_states

    return unit_states(app)


def _print_summary(config: Config, app: App, store: DeploymentStore) -> None:
    view, last = read_status(store.connection, app.name), store.history(app.name, 1)
    click.echo(f"{styled(app.name, bold=True)}  {_versions(view, _read_units(app))}")
    click.echo(f"  {_ago(last[0].created_at)}: {format_ending(last[0])}" if last else "  no deployment yet")
    _print_lag(config, app, view, store)


def print_status(
    config: Config, app: App, view: AppStatus, store: DeploymentStore, units: "Sequence[Unit]" = ()
) -> None:
    """Print one app: its versions, its health, and the reasons of a lag."""
    click.echo(f"{styled(app.name, bold=True)}  {app.full_name}, branch {printable(app.branch)}")
    click.echo(f"  {_versions(view, units)}, release {view.release or 'none'}")
    click.echo(f"  head seen {_ago(view.head_seen_at)}, health checked {_ago(view.checked_at)}")
    _print_lag(config, app, view, store)


def _print_lag(config: Config, app: App, view: AppStatus, store: DeploymentStore) -> None:
    """Print the drift, the lag, its reasons, and the one command that ends it or shows its end."""
    freeze = common.active_freeze(config, app)
    view = view.after_thaw(is_frozen=freeze is not None)
    if view.drift:
        print_line(f"  {printable(view.drift)}", fg="red")
    last = next(iter(store.history(app.name, 1)), None)
    if view.lag:
        print_line(f"  {printable(_lag_text(view.lag, freeze))}", fg="yellow")
    elif not view.deployed_commit and (last is None or last.ended):
        print_line(f"  {NOTHING_DEPLOYED.why}", fg="yellow")
    if freeze:
        print_line(f"  {freeze}", fg="yellow")
    if view.pinned_commit:
        print_line(f"  pinned to {_short(view.pinned_commit)} until a newer push", fg="yellow")
    # The lag's reason names the quarantine of the head.
    named = view.head if view.lag and view.lag.verdict is Verdict.QUARANTINED else None
    for bad in (bad for bad in view.quarantined if bad.commit != named):
        print_line(f"  quarantined {_short(bad.commit)}, {_ago(bad.since)}: {printable(bad.cause)}")
    if files := _last_written(view):
        print_line(f"  {files}", fg="yellow")
    if command := _open_deployment_command(config, app, store, last) or _next_command(app, view, freeze, last):
        common.print_next(command)


def _open_deployment_command(config: Config, app: App, store: DeploymentStore, last: Deployment | None) -> str:
    """Return the command that lets the last deployment run or follows it, or "" if it has ended."""
    if last is None or last.ended:
        return ""
    if last.status is Status.QUEUED:
        with suppress(NoPermissionError):  # Not every reader may see the workers.
            _, command = explain_wait(config, store)
            if command:
                return command
    return f"hookd logs {app.name} --follow"


def _lag_text(lag: Lag, freeze: Freeze | None) -> str:
    """Return the lag's sentence. A freeze has a line of its own."""
    now = datetime.now(UTC)
    return lag.distance(now) if freeze and lag.verdict is Verdict.FROZEN else lag.sentence(now)


def _next_command(app: App, view: AppStatus, freeze: Freeze | None, last: Deployment | None) -> str:
    if view.lag and view.lag.verdict is Verdict.STOPPED and not app.uses_systemd:
        return ""  # The lag names circus' command.
    if freeze:
        return remedy(Verdict.FROZEN, view.app)
    if mending := _mending_command(view, last):
        return mending
    if view.lag:
        return remedy(view.lag.verdict, view.app, needs_fix=view.lag.needs_fix)
    if view.pinned_commit:
        return remedy(Verdict.PINNED, view.app)
    if view.healthy is False:
        return render_hint(Hint(HintKind.RUN_DOCTOR), view.app)
    if (files := _last_written(view)) and (hint := files.hint(app)):
        return render_hint(hint, view.app)
    return "" if view.deployed_commit else remedy(Verdict.WAITING, view.app)


def _last_written(view: AppStatus) -> WrittenFiles | None:
    """Return the files in the newest release that has some. Older ones usually have the same."""
    return max(view.written, key=lambda files: files.release, default=None)


def _mending_command(view: AppStatus, last: Deployment | None) -> str:
    """Return the command that mends what the last deployment of the head failed from, or "" if none is known."""
    if last is None or last.status not in RETRYABLE_ENDINGS or last.commit != view.head or last.hint is None:
        return ""
    return "" if last.hint.kind is HintKind.SHOW_LOG else render_hint(last.hint, view.app, last.id)


def _versions(view: AppStatus, units: "Sequence[Unit]") -> str:
    differs = "" if view.head == view.deployed_commit else " (differs)"
    if differs and view.head == view.skipped_commit:
        differs = " (skipped, it changes none of the app's paths)"
    words = {True: click.style("healthy", "green"), False: click.style("unhealthy", "red"), None: "health unknown"}
    health = words[view.healthy]
    if units and all(unit.active == "inactive" for unit in units):
        health = click.style("stopped", "red")
    return f"deployed {_short(view.deployed_commit)}, head {_short(view.head)}{differs}, {health}"


def _heading(deployment: Deployment) -> str:
    number = deployment.coalesced
    more = f", {number} more request{'s' if number > 1 else ''} coalesced" if number else ""
    return f"{deployment.id}  {styled(f'{deployment.trigger}, {_ago(deployment.created_at)}{more}', dim=True)}"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _ago(at: datetime | None) -> str:
    return f"{format_duration(datetime.now(UTC) - at)} ago" if at else "never"


@click.command(epilog="Example: hookd logs shop --follow")
@click.argument("deployment", metavar="DEPLOYMENT|APP", shell_complete=common.complete_app)
@click.option("--follow", "-f", is_flag=True, help="Print new lines until the deployment ends.")
@click.option("--process", metavar="NAME", help="Print the journal of a process or timer of an app, or of `web`.")
@common.needs_config
def logs(config: Config, deployment: str, follow: bool, process: str | None) -> None:
    """Print the log of a deployment, or of an app's last one."""
    if process is not None:
        show_journal(common.find_app(config.catalogue, deployment), process, follow=follow)
    store = common.open_store(config)
    found = _find_deployment(config, store, deployment)
    found = _print_log(config.settings.log_path(found.app, found.id), store, found, follow=follow)
    click.echo(format_ending(found), err=True)


def _find_deployment(config: Config, store: DeploymentStore, text: str) -> Deployment:
    if config.catalogue.get(text) is None:
        names = [app.name for app in config.catalogue.apps]
        return store.find(text) or common.fail_unknown_app(text, names, "app or deployment")
    last = store.history(text, 1)
    return last[0] if last else common.fail(f"{text} has no deployment yet", hint=f"hookd deploy {text}")


def _print_log(path: Path, store: DeploymentStore, deployment: Deployment, *, follow: bool) -> Deployment:
    """Print the log and return the deployment. With `follow`, wait for its ending."""
    while follow and not path.exists() and not deployment.ended:
        time.sleep(0.1)
        deployment = store.get(deployment.id)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with _open_log(path, deployment) as file:
        while True:
            deployment = store.get(deployment.id)
            # A log holds up to 5 MiB, so it is read in pieces.
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
        raise
    except OSError as error:
        listing = shlex.join(("sudo", "ls", "-ld", str(path.parent), str(path)))
        common.fail(f"{path} cannot be read as a log: {error.strerror}", hint=listing, status=1)
