"""Status for people: the apps in one table, one app in detail."""

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hookd.cli.follow import ending_line
from hookd.contract.catalogue import App
from hookd.contract.deployment import Deployment
from hookd.contract.view import AppView
from hookd.store.records import Records

LISTED = 10


def show_apps(console: Console, apps: tuple[App, ...], records: Records) -> None:
    """Print one line per app."""
    if not apps:
        console.print("The catalogue is empty: add a file <app>.toml to the apps directory.")
        return
    table = _table("app", "deployed", "head", "healthy", "last deployment")
    for app in apps:
        view, last = records.view(app.name), records.history(app.name, 1)
        table.add_row(
            app.name,
            _short(view.deployed_commit),
            _short(view.head) + ("" if view.head == view.deployed_commit else " (differs)"),
            _health(view),
            f"{_ago(last[0].created_at)}: {ending_line(last[0])}" if last else "none yet",
        )
    console.print(table)


def show_app(console: Console, app: App, records: Records) -> None:
    """Print what is known of one app."""
    view = records.view(app.name)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_row("app", f"{app.name}: {app.full_name}, branch {app.branch}")
    table.add_row("deployed", f"{_short(view.deployed_commit)}  release {view.release or 'none'}")
    table.add_row("head", f"{_short(view.head)}  seen {_ago(view.head_seen_at)}")
    table.add_row("healthy", f"{_health(view)}  checked {_ago(view.checked_at)}")
    if view.pinned_commit:
        table.add_row("pinned", f"{_short(view.pinned_commit)}: the head is not deployed until it moves")
    for bad in view.quarantined:
        table.add_row("quarantined", f"{_short(bad.commit)} {_ago(bad.since)}: {escape(bad.cause)}")
    console.print(table)
    recent = records.history(app.name, LISTED)
    if recent:
        console.print(_history(recent))


def _history(recent: list[Deployment]) -> Table:
    table = _table("deployment", "asked", "by", "ending")
    for record in recent:
        joined = f" (+{record.joined})" if record.joined else ""
        table.add_row(record.id, _ago(record.created_at), f"{record.trigger}{joined}", ending_line(record))
    return table


def _table(*columns: str) -> Table:
    """Make a table in which only the last column may be cut, and only on a terminal: `hookd logs` has the whole."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True, overflow="fold")
    table.add_column(columns[-1], no_wrap=True, overflow="ellipsis")
    return table


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
