"""`hookd why`: the app's status, then the decisions about its pushes and reconcile runs, the newest first."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

import click
from rich.markup import escape

from hookd.cli import common
from hookd.cli.progress import COLOURS
from hookd.cli.status import app_json, print_status
from hookd.config import Config
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.text import printable
from hookd.queue import decision_log

_INDENT: Final = 23
_MIN_WIDTH: Final = 30
_NO_BREAK: Final = "\u00a0"
_COLOURS: Final[Mapping[str, str]] = {
    **COLOURS,
    Verdict.QUEUED: "green",
    Verdict.UNCHANGED: "green",
    Verdict.REFUSED: "red",
    Verdict.UNREACHABLE: "red",
    Verdict.SKIPPED: "yellow",
    Verdict.QUARANTINED: "yellow",
    Verdict.PINNED: "yellow",
    Verdict.FROZEN: "yellow",
    Verdict.THAWED: "green",
    Verdict.STOPPED: "yellow",
}


@click.command(epilog="Example: hookd why shop -n 30")
@common.optional_app_argument
@click.option("-n", "count", type=click.IntRange(1, decision_log.MAX_ENTRIES), default=15, show_default=True)
@click.option("--refused", is_flag=True, help="Show refused signatures and the failed check.")
@common.json_option
@common.needs_config
def why(config: Config, app: str | None, count: int, refused: bool, json_output: bool) -> None:
    """Show the decisions about an app and their reasons."""
    known = common.find_app(config.catalogue, app) if app else None
    if refused:
        found, status = _read_refusals(config, known, count), {}
    elif known is None:
        common.fail("an app is missing", hint="hookd why APP, or: hookd why --refused")
    else:
        store = common.open_store(config)
        found = decision_log.read_newest(store.connection, known.name, count)
        status = app_json(config, known, store)
    if json_output:
        decisions = [decision.model_dump(mode="json", exclude_none=True) for decision in found]
        click.echo(json.dumps(decisions if refused else {**status, "decisions": decisions}, indent=2))
        return
    if known and not refused:
        print_status(config, known, common.read_status(store, known))
    if not found:
        common.print_markup("  no refused signature" if refused else "  no decision yet")
    for line in format_decisions(found, common.console.width if common.console.is_terminal else None):
        common.print_markup(line)


def _read_refusals(config: Config, app: App | None, count: int) -> list[Decision]:
    """Read refusals as the operator, because the failed check would help an attacker."""
    connection = common.open_store(config, reads=False).connection
    found = decision_log.read_refusals(connection, decision_log.MAX_ENTRIES)
    return [one for one in found if app is None or one.app == app.name][:count]


def format_decisions(decisions: Iterable[Decision], width: int | None) -> Iterator[str]:
    """Yield decisions as lines of rich's markup, wrapped at `width`."""
    for day, group in groupby(decisions, lambda decision: f"{decision.at.astimezone():%A, %Y-%m-%d (%Z)}"):
        yield f"[bold]{day}[/]"
        for decision in group:
            yield from _format_decision(decision, width)


def _format_decision(decision: Decision, width: int | None) -> Iterator[str]:
    verdict = decision.ending or decision.verdict
    time, word = f"{decision.at.astimezone():%H:%M:%S}", verdict.replace("_", " ").ljust(11)
    lead = f"{time}  {word}  "
    first, *rest = _wrap(printable(decision.why), width, len(lead))
    yield f"{time}  [{_COLOURS.get(verdict, 'cyan')}]{word}[/]  {escape(first)}"
    for line in rest:
        yield " " * _INDENT + escape(line)
    facts = " · ".join(printable(fact).replace(" ", _NO_BREAK) for fact in _facts(decision))
    for line in _wrap(facts, width, _INDENT):
        yield f"{' ' * _INDENT}[dim]{escape(line.replace(_NO_BREAK, ' '))}[/]"


def _wrap(text: str, width: int | None, first_indent: int) -> list[str]:
    """Break a text into lines that fit beside their indents."""
    if width is None:
        return [text]
    width = max(width - _INDENT, _MIN_WIDTH)
    indent = " " * max(first_indent - _INDENT, 0)
    return [
        line.removeprefix(indent)
        for line in textwrap.wrap(text, width, initial_indent=indent, break_on_hyphens=False) or [""]
    ]


def _facts(decision: Decision) -> Iterator[str]:
    match decision.source:
        case "delivery":
            yield from _delivery_facts(decision)
        case "reconcile":
            yield "reconcile"
        case "deployment":
            yield decision.event or "deployment"
            yield decision.deployment or "no record"
        case "person":
            yield "typed by a person"
    if decision.head:
        yield f"head {decision.head[:12]}"
    if decision.deployed:
        yield f"deployed {decision.deployed[:12]}"
    if decision.running:
        yield f"running {decision.running}"


def _delivery_facts(decision: Decision) -> Iterator[str]:
    branch = f" to {decision.ref.removeprefix('refs/heads/')}" if decision.ref else ""
    commit = f" at {decision.claimed_commit[:12]}" if decision.claimed_commit else ""
    yield f"{decision.event or 'a request'}{branch}{commit}"
    if decision.verdict is Verdict.REFUSED:
        yield f"app {decision.app}" if decision.app else "no such app"
    if decision.repository:
        yield decision.repository
    if decision.delivery:
        yield f"delivery {decision.delivery}"
    if decision.deployment:
        yield decision.deployment


COMMANDS = (why,)
