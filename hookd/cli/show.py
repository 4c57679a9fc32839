"""Status for people: each app in two lines, or one with its last deployments; nothing is cut in a narrow terminal."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from hookd.cli.follow import ending_line
from hookd.cli.terminal import shown
from hookd.contract.catalogue import App
from hookd.contract.decision import Verdict
from hookd.contract.deployment import Deployment
from hookd.contract.freeze import Freeze
from hookd.contract.ruling import next_for
from hookd.contract.view import AppView
from hookd.store import freezes
from hookd.store.config import Config
from hookd.store.records import Records

LISTED = 10
# With these verdicts the command stands beside what is said.
_SAID: Final = (Verdict.FROZEN, Verdict.PINNED, Verdict.STOPPED)


def show_apps(console: Console, config: Config, records: Records, stopped: Collection[str] = ()) -> None:
    """Print what serves of each app, and how its last deployment ended; of those that are `stopped` nothing does."""
    for app in config.catalogue.apps:
        view, last = records.view(app.name), records.history(app.name, 1)
        console.print(f"[bold]{app.name}[/]  {_standing(view, app.name in stopped)}", soft_wrap=True)
        ending = f"{_ago(last[0].created_at)}: {ending_line(last[0])}" if last else "no deployment yet"
        console.print(f"  {ending}", soft_wrap=True)
        _show_behind(console, view, freeze := frozen(config, app))
        if freeze:
            console.print(f"  [yellow]{shown(str(freeze))}[/]", soft_wrap=True)


def show_app(console: Console, config: Config, app: App, records: Records, stopped: Collection[str] = ()) -> None:
    """Print what is known of one app, with its last deployments."""
    show_now(console, config, app, records.view(app.name), stopped)
    for record in records.history(app.name, LISTED):
        console.print(_heading(record), soft_wrap=True)
        console.print(f"  {ending_line(record)}", soft_wrap=True)


def show_now(console: Console, config: Config, app: App, view: AppView, stopped: Collection[str] = ()) -> None:
    """Print how an app stands: what serves, and what keeps it from its branch's head."""
    console.print(f"[bold]{app.name}[/]  {app.full_name}, branch {shown(app.branch)}", soft_wrap=True)
    console.print(f"  {_standing(view, app.name in stopped)}, release {view.release or 'none'}", soft_wrap=True)
    console.print(f"  head seen {_ago(view.head_seen_at)}, health checked {_ago(view.checked_at)}", soft_wrap=True)
    freeze = frozen(config, app)
    _show_behind(console, view, freeze)
    _show_holds(console, config, view, freeze)
    _show_next(console, app.name, view)


def _show_behind(console: Console, view: AppView, freeze: Freeze | None) -> None:
    """Print what is wrong: with what runs, and that the head does not serve. A freeze has a line of its own."""
    if view.trouble:
        console.print(f"  [red]{shown(view.trouble)}[/]", soft_wrap=True)
    if view.behind is None:
        return
    now, late = datetime.now(UTC), view.behind
    said = late.said(now) if late.verdict is not Verdict.FROZEN else late.far(now) if freeze else _thawed(view.app)
    console.print(f"  [yellow]{shown(said)}[/]", soft_wrap=True)


def _thawed(app: str) -> str:
    """What is left to say of a freeze that has ended since the last look."""
    return f"nothing was deployed since {app} was thawed; next: hookd update {app}"


def _show_holds(console: Console, config: Config, view: AppView, freeze: Freeze | None) -> None:
    """Print what keeps an app from its branch's head, and the commands that end it."""
    if freeze:
        console.print(f"  [yellow]{shown(str(freeze))}[/]", soft_wrap=True)
        console.print(f"    next: [bold]{freezes.thaw_command(config.frozen, view.app)}[/]", soft_wrap=True)
    if view.pinned_commit:
        pinned = f"pinned to {_short(view.pinned_commit)} by a person, until a newer commit is pushed"
        console.print(f"  [yellow]{pinned}[/]", soft_wrap=True)
        console.print(f"    next: {next_for(Verdict.PINNED, view.app)}", soft_wrap=True)
    for bad in view.quarantined:
        console.print(f"  quarantined {_short(bad.commit)}, {_ago(bad.since)}: {shown(bad.cause)}", soft_wrap=True)


def _show_next(console: Console, app: str, view: AppView) -> None:
    """Print what brings the app to its head, where that is not said yet."""
    verdict = view.behind.verdict if view.behind else Verdict.UNCHANGED if view.deployed_commit else Verdict.WAITING
    if (told := next_for(verdict, app)) and verdict not in _SAID:
        console.print(f"  next: {told}", soft_wrap=True)


def frozen(config: Config, app: App) -> Freeze | None:
    """The freeze of an app that is in force now."""
    return freezes.in_force(config.frozen, app.name, datetime.now(UTC))


def _standing(view: AppView, stopped: bool) -> str:
    differs = "" if view.head == view.deployed_commit else " (differs)"
    if differs and view.head == view.passed_commit:
        differs = " (changes none of the app's paths)"
    health = "no, it is [red]stopped[/]" if stopped else _health(view)
    return f"deployed {_short(view.deployed_commit)}, head {_short(view.head)}{differs}, healthy: {health}"


def _heading(record: Deployment) -> str:
    joined = f", {record.joined} more pushes joined" if record.joined else ""
    return f"{record.id}  [dim]{record.trigger}, {_ago(record.created_at)}{joined}[/]"


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "none"


def _health(view: AppView) -> str:
    return {True: "[green]yes[/]", False: "[red]no[/]", None: "not known"}[view.healthy]


def _ago(at: datetime | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
