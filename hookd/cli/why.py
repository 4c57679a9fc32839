"""`hookd why`: what was decided about each push and each look at the branch, and how the app stands now."""

import json

import click
from rich.console import Console

from hookd.cli.base import app_of, as_json, configured, console, records_of, stop
from hookd.cli.show import frozen, show_now
from hookd.cli.tell import tell
from hookd.contract.catalogue import App
from hookd.contract.decision import Decision
from hookd.store import decisions
from hookd.store.config import Config
from hookd.store.records import Records


@click.command()
@click.argument("app", required=False)
@click.option("-n", "count", type=click.IntRange(1, decisions.KEPT), default=15, show_default=True, help="How many.")
@click.option("--refused", is_flag=True, help="Deliveries whose signature was refused, and which check failed.")
@as_json
@configured
def why(config: Config, app: str | None, count: int, refused: bool, json_output: bool) -> None:
    """Show what was decided about APP, the newest first, and why; how it stands now comes first."""
    known = app_of(config.catalogue, app) if app else None
    if refused:
        _refusals(config, known, count, json_output=json_output)
    elif known is None:
        stop("whose decisions? Name an app", hint="hookd why APP, or: hookd why --refused")
    else:
        _decisions(config, known, count, json_output=json_output)


def _decisions(config: Config, app: App, count: int, *, json_output: bool) -> None:
    records = records_of(config)
    found = decisions.newest(records.connection, app.name, count)
    if json_output:
        click.echo(json.dumps({**_standing(config, app, records), "decisions": _plain(found)}, indent=2))
        return
    show_now(console, config, app, records.view(app.name))
    _tell_all(console, found, "nothing was decided yet")


def _refusals(config: Config, app: App | None, count: int, *, json_output: bool) -> None:
    """Which check failed would help whoever guesses signatures, so only the operator may read it."""
    connection = records_of(config, reads=False).connection
    found = decisions.refusals(connection, decisions.KEPT)
    found = [one for one in found if app is None or one.app == app.name][:count]
    if json_output:
        click.echo(json.dumps(_plain(found), indent=2))
        return
    _tell_all(console, found, "no signature was refused")


def _tell_all(console: Console, found: list[Decision], nothing: str) -> None:
    if not found:
        console.print(f"  {nothing}")
    for line in tell(found, console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)


def _standing(config: Config, app: App, records: Records) -> dict[str, object]:
    freeze = frozen(config, app)
    return {
        **records.view(app.name).model_dump(mode="json"),
        "frozen": freeze.model_dump(mode="json") if freeze else None,
    }


def _plain(found: list[Decision]) -> list[dict[str, object]]:
    return [decision.model_dump(mode="json", exclude_none=True) for decision in found]


COMMANDS = (why,)
