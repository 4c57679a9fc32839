"""Status for people: each app in two lines, or one with its last deployments; nothing is cut in a narrow terminal."""

import codecs
import json
import shlex
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from rich.console import Console

from hookd import freezes
from hookd.cli.common import add_app_hint, as_json, console, error_console, find_app, needs_config, open_records, stop
from hookd.cli.progress import ending_line
from hookd.cli.safe_text import sanitize, sanitize_markup
from hookd.config import Config
from hookd.files.safe_open import open_regular_file
from hookd.model.app import App
from hookd.model.app_status import AppStatus
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment
from hookd.model.eligibility import Freeze, remedy
from hookd.model.ids import is_deployment
from hookd.queue.app_status import AppStatusStore
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import DeploymentStore

LISTED = 10
# With these verdicts the command stands beside what is said.
_SAID: Final = (Verdict.FROZEN, Verdict.PINNED, Verdict.STOPPED)


def show_apps(console: Console, config: Config, records: DeploymentStore, stopped: Collection[str] = ()) -> None:
    """Print what serves of each app, and how its last deployment ended; of those that are `stopped` nothing does."""
    for app in config.catalogue.apps:
        view, last = AppStatusStore(records.connection).read(app.name), records.history(app.name, 1)
        console.print(f"[bold]{app.name}[/]  {_standing(view, app.name in stopped)}", soft_wrap=True)
        ending = f"{_ago(last[0].created_at)}: {ending_line(last[0])}" if last else "no deployment yet"
        console.print(f"  {ending}", soft_wrap=True)
        _show_behind(console, view, freeze := frozen(config, app))
        if freeze:
            console.print(f"  [yellow]{sanitize_markup(str(freeze))}[/]", soft_wrap=True)


def show_app(
    console: Console, config: Config, app: App, records: DeploymentStore, stopped: Collection[str] = ()
) -> None:
    """Print what is known of one app, with its last deployments."""
    show_now(console, config, app, AppStatusStore(records.connection).read(app.name), stopped)
    for record in records.history(app.name, LISTED):
        console.print(_heading(record), soft_wrap=True)
        console.print(f"  {ending_line(record)}", soft_wrap=True)


def show_now(console: Console, config: Config, app: App, view: AppStatus, stopped: Collection[str] = ()) -> None:
    """Print how an app stands: what serves, and what keeps it from its branch's head."""
    console.print(f"[bold]{app.name}[/]  {app.full_name}, branch {sanitize_markup(app.branch)}", soft_wrap=True)
    console.print(f"  {_standing(view, app.name in stopped)}, release {view.release or 'none'}", soft_wrap=True)
    console.print(f"  head seen {_ago(view.head_seen_at)}, health checked {_ago(view.checked_at)}", soft_wrap=True)
    freeze = frozen(config, app)
    _show_behind(console, view, freeze)
    _show_holds(console, config, view, freeze)
    _show_next(console, app.name, view)


def _show_behind(console: Console, view: AppStatus, freeze: Freeze | None) -> None:
    """Print what is wrong: with what runs, and that the head does not serve. A freeze has a line of its own."""
    if view.drift:
        console.print(f"  [red]{sanitize_markup(view.drift)}[/]", soft_wrap=True)
    if view.lag is None:
        return
    now, late = datetime.now(UTC), view.lag
    said = (
        late.sentence(now)
        if late.verdict is not Verdict.FROZEN
        else late.distance(now)
        if freeze
        else _thawed(view.app)
    )
    console.print(f"  [yellow]{sanitize_markup(said)}[/]", soft_wrap=True)


def _thawed(app: str) -> str:
    """What is left to say of a freeze that has ended since the last look."""
    return f"nothing was deployed since {app} was thawed; next: hookd update {app}"


def _show_holds(console: Console, config: Config, view: AppStatus, freeze: Freeze | None) -> None:
    """Print what keeps an app from its branch's head, and the commands that end it."""
    if freeze:
        console.print(f"  [yellow]{sanitize_markup(str(freeze))}[/]", soft_wrap=True)
        console.print(f"    next: [bold]{freezes.thaw_command(config.frozen, view.app)}[/]", soft_wrap=True)
    if view.pinned_commit:
        pinned = f"pinned to {_short(view.pinned_commit)} by a person, until a newer commit is pushed"
        console.print(f"  [yellow]{pinned}[/]", soft_wrap=True)
        console.print(f"    next: {remedy(Verdict.PINNED, view.app)}", soft_wrap=True)
    for bad in view.quarantined:
        console.print(
            f"  quarantined {_short(bad.commit)}, {_ago(bad.since)}: {sanitize_markup(bad.cause)}", soft_wrap=True
        )


def _show_next(console: Console, app: str, view: AppStatus) -> None:
    """Print what brings the app to its head, where that is not said yet."""
    verdict = view.lag.verdict if view.lag else Verdict.UNCHANGED if view.deployed_commit else Verdict.WAITING
    if (told := remedy(verdict, app)) and verdict not in _SAID:
        console.print(f"  next: {told}", soft_wrap=True)


def frozen(config: Config, app: App) -> Freeze | None:
    """The freeze of an app that is in force now."""
    return freezes.active_freeze(config.frozen, app.name, datetime.now(UTC))


def _standing(view: AppStatus, stopped: bool) -> str:
    differs = "" if view.head == view.deployed_commit else " (differs)"
    if differs and view.head == view.skipped_commit:
        differs = " (changes none of the app's paths)"
    health = "no, it is [red]stopped[/]" if stopped else _health(view)
    return f"deployed {_short(view.deployed_commit)}, head {_short(view.head)}{differs}, healthy: {health}"


def _heading(record: Deployment) -> str:
    joined = f", {record.coalesced} more pushes joined" if record.coalesced else ""
    return f"{record.id}  [dim]{record.trigger}, {_ago(record.created_at)}{joined}[/]"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _health(view: AppStatus) -> str:
    return {True: "[green]yes[/]", False: "[red]no[/]", None: "not known"}[view.healthy]


def _ago(at: datetime | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


@click.command()
@click.argument("app", required=False)
@as_json
@needs_config
def status(config: Config, app: str | None, json_output: bool) -> None:
    """Show all apps, or one with its last deployments."""
    records = open_records(config)
    apps = (find_app(config.catalogue, app),) if app else config.catalogue.apps
    if json_output:
        shown = [
            {
                **AppStatusStore(records.connection).read(one.name).model_dump(mode="json"),
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
        console.print(add_app_hint(config), markup=False, soft_wrap=True)


def _as_json(freeze: Freeze | None) -> dict[str, Any] | None:
    return freeze.model_dump(mode="json") if freeze else None


def _units(app: App) -> tuple[list[str], bool]:
    """How the app's units stand, and whether all of them are stopped, where systemd runs them."""
    if app.service.manager != "systemd":
        return [], False
    from units.cli.setup import unit_states

    return unit_states(app)


@click.command()
@click.argument("deployment")
@click.option("--follow", "-f", "keep_on", is_flag=True, help="Stay and print what is added, until it has ended.")
@needs_config
def logs(config: Config, deployment: str, keep_on: bool) -> None:
    """Print the log of DEPLOYMENT, an id, or of an app's last deployment when it is an app's name."""
    records = open_records(config)
    record = _find(config, records, deployment)
    path = config.settings.log_path(record.app, record.id)
    try:
        record = print_log(path, records, record, keep_on=keep_on)
    except LogUnavailable as error:
        stop(str(error), hint=error.hint, status=1)
    except PermissionError:
        stop(f"{path} may not be read by you", hint="run the same as the worker's user")
    error_console.print(ending_line(record), soft_wrap=True)


def _find(config: Config, records: DeploymentStore, text: str) -> Deployment:
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

_PIECE_BYTES: Final = 64 * 1024


class LogUnavailable(Exception):
    """There is nothing to print; `hint` is what to type next."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def print_log(path: Path, records: DeploymentStore, record: Deployment, *, keep_on: bool) -> Deployment:
    """Print the log, with `keep_on` until the deployment has ended; returns the record as it is then.

    Raises NoLog when there is none, and PermissionError when it may not be read.
    """
    while not path.exists() and keep_on and not record.ended:
        time.sleep(0.1)
        record = records.get(record.id)
    file = _opened(path, record)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with file:
        while True:
            record = records.get(record.id)
            over = record.ended or not keep_on
            _print_rest(file, decoder)
            if over:
                click.echo(decoder.decode(b"", final=True), nl=False)
                return record
            time.sleep(0.1)


def _opened(path: Path, record: Deployment) -> BinaryIO:
    try:
        return open_regular_file(path)
    except FileNotFoundError:
        why = f"there is no log of {record.id}" + ("" if record.ended else " yet")
        raise LogUnavailable(why, f"hookd logs {record.id} --follow") from None
    except PermissionError:
        raise
    except OSError as error:
        listing = shlex.join(("sudo", "ls", "-ld", str(path.parent), str(path)))
        raise LogUnavailable(f"{path} cannot be read as a log: {error.strerror}", listing) from None


def _print_rest(file: BinaryIO, decoder: codecs.IncrementalDecoder) -> None:
    """Print what is there by now, piece by piece: the worker's user may make the file as long as he likes."""
    while piece := file.read(_PIECE_BYTES):
        click.echo(sanitize(decoder.decode(piece)), nl=False)
