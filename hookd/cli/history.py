"""`hookd why`: the app's status, then the decisions about its pushes and reconcile runs, the newest first."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import click

from hookd.cli import common
from hookd.cli.common import styled
from hookd.cli.progress import colour
from hookd.cli.status import app_json, print_status
from hookd.config import Config
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.text import printable
from hookd.queue import published

_INDENT: Final = 23 * " "
_MIN_WIDTH: Final = 50
_NO_BREAK: Final = "\u00a0"


@click.command(epilog="Example: hookd why shop -n 30")
@common.optional_app_argument
@click.option(
    "-n", "count", type=click.IntRange(1, published.MAX_ENTRIES), default=15, show_default=True, help="How many."
)
@click.option("--refused", is_flag=True, help="Show refused signatures and the failed check.")
@common.json_option
@common.needs_config
def why(config: Config, app: str | None, count: int, refused: bool, as_json: bool) -> None:
    """Show the decisions about an app and their reasons."""
    known = common.find_app(config.catalogue, app) if app else None
    if refused:
        found, status = _read_refusals(config, known, count), {}
    elif known is None:
        common.fail("missing argument 'APP'", hint="hookd status")
    else:
        store = common.open_store(config)
        found = published.read_decisions(store.connection, known.name, count)
        status = app_json(config, known, store)
    if as_json:
        decisions = [decision.model_dump(mode="json", exclude_none=True) for decision in found]
        click.echo(json.dumps(decisions if refused else {**status, "decisions": decisions}, indent=2))
        return
    if known and not refused:
        print_status(config, known, published.read_status(store.connection, known.name), store)
    if not found:
        click.echo("  no refused signature" if refused else "  no decision yet")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in format_decisions(found, width):
        click.echo(line)


def _read_refusals(config: Config, app: App | None, count: int) -> list[Decision]:
    """Read refusals as the operator, because the failed check would help an attacker."""
    connection = common.open_store(config, reads=False).connection
    found = published.read_refusals(connection, published.MAX_ENTRIES)
    return [refusal for refusal in found if app is None or refusal.app == app.name][:count]


def format_decisions(decisions: Iterable[Decision], width: int = sys.maxsize) -> Iterator[str]:
    """Yield decisions as text, wrapped at `width`."""
    for day, group in groupby(decisions, lambda decision: f"{decision.at.astimezone():%A, %Y-%m-%d (%Z)}"):
        yield styled(day, bold=True)
        for decision in group:
            yield _format_decision(decision, max(width, _MIN_WIDTH))


def _format_decision(decision: Decision, width: int) -> str:
    verdict = decision.ending or decision.verdict
    word = verdict.replace("_", " ")
    reason = _wrap(f"{decision.at.astimezone():%H:%M:%S}  {word:<11}  {printable(decision.why)}", width)
    coloured = reason.replace(word, click.style(word, colour(verdict)), 1)
    facts = " · ".join(printable(fact).replace(" ", _NO_BREAK) for fact in _facts(decision))
    dimmed = click.style(_wrap(facts, width, first_indent=_INDENT).replace(_NO_BREAK, " "), dim=True)
    return f"{coloured}\n{dimmed}"


def _wrap(text: str, width: int, first_indent: str = "") -> str:
    return textwrap.fill(text, width, initial_indent=first_indent, subsequent_indent=_INDENT, break_on_hyphens=False)


def _facts(decision: Decision) -> Iterator[str]:
    match decision.source:
        case "delivery":
            branch = f" to {decision.ref.removeprefix('refs/heads/')}" if decision.ref else ""
            commit = f" at {decision.claimed_commit[:12]}" if decision.claimed_commit else ""
            yield f"{decision.event or 'a request'}{branch}{commit}"
        case "reconcile":
            yield "reconcile"
        case "deployment":
            yield decision.event or "deployment"
        case "person":
            yield "typed by a person"
    if decision.verdict is Verdict.REFUSED:
        yield f"app {decision.app}" if decision.app else "no such app"
    if decision.repository:
        yield decision.repository
    if decision.delivery:
        yield f"delivery {decision.delivery}"
    if decision.deployment:
        yield decision.deployment
    if decision.head:
        yield f"head {decision.head[:12]}"
    if decision.deployed:
        yield f"deployed {decision.deployed[:12]}"
    if decision.running:
        yield f"running {decision.running}"
