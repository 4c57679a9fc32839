"""`hookd why`: what was decided about each push and each look at the branch, and how the app stands now."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import click
from rich.console import Console
from rich.markup import escape

from hookd.cli.common import as_json, console, find_app, needs_config, open_records, stop
from hookd.cli.safe_text import sanitize
from hookd.cli.status import frozen, show_now
from hookd.config import Config
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import Status
from hookd.queue import decision_log
from hookd.queue.app_status import AppStatusStore
from hookd.queue.deployments import DeploymentStore


@click.command()
@click.argument("app", required=False)
@click.option(
    "-n", "count", type=click.IntRange(1, decision_log.MAX_ENTRIES), default=15, show_default=True, help="How many."
)
@click.option("--refused", is_flag=True, help="Deliveries whose signature was refused, and which check failed.")
@as_json
@needs_config
def why(config: Config, app: str | None, count: int, refused: bool, json_output: bool) -> None:
    """Show what was decided about APP, the newest first, and why; how it stands now comes first."""
    known = find_app(config.catalogue, app) if app else None
    if refused:
        _refusals(config, known, count, json_output=json_output)
    elif known is None:
        stop("whose decisions? Name an app", hint="hookd why APP, or: hookd why --refused")
    else:
        _decisions(config, known, count, json_output=json_output)


def _decisions(config: Config, app: App, count: int, *, json_output: bool) -> None:
    records = open_records(config)
    found = decision_log.read_newest(records.connection, app.name, count)
    if json_output:
        click.echo(json.dumps({**_standing(config, app, records), "decisions": _plain(found)}, indent=2))
        return
    show_now(console, config, app, AppStatusStore(records.connection).read(app.name))
    _print_decisions(console, found, "nothing was decided yet")


def _refusals(config: Config, app: App | None, count: int, *, json_output: bool) -> None:
    """Which check failed would help whoever guesses signatures, so only the operator may read it."""
    connection = open_records(config, reads=False).connection
    found = decision_log.read_refusals(connection, decision_log.MAX_ENTRIES)
    found = [one for one in found if app is None or one.app == app.name][:count]
    if json_output:
        click.echo(json.dumps(_plain(found), indent=2))
        return
    _print_decisions(console, found, "no signature was refused")


def _print_decisions(console: Console, found: list[Decision], nothing: str) -> None:
    if not found:
        console.print(f"  {nothing}")
    for line in format_decisions(found, console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)


def _standing(config: Config, app: App, records: DeploymentStore) -> dict[str, object]:
    freeze = frozen(config, app)
    return {
        **AppStatusStore(records.connection).read(app.name).model_dump(mode="json"),
        "frozen": freeze.model_dump(mode="json") if freeze else None,
    }


def _plain(found: list[Decision]) -> list[dict[str, object]]:
    return [decision.model_dump(mode="json", exclude_none=True) for decision in found]


COMMANDS = (why,)

_INDENT: Final = " " * 23
_GLUE: Final = " · "
_NO_BREAK: Final = "\u00a0"
_NARROWEST: Final = 30
_COLOURS: Final = {
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
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.ROLLED_BACK: "yellow",
    Status.ROLLBACK_FAILED: "bold red",
}


def format_decisions(decisions: Iterable[Decision], width: int | None) -> Iterator[str]:
    """Write decisions as rich's markup, one under the other; lines end at `width`, if there is one."""
    for day, group in groupby(decisions, lambda decision: f"{decision.at.astimezone():%A, %Y-%m-%d (%Z)}"):
        yield f"[bold]{day}[/]"
        for decision in group:
            yield from _format_decision(decision, width)


def _format_decision(decision: Decision, width: int | None) -> Iterator[str]:
    verdict, why = _verdict(decision)
    at, word = f"{decision.at.astimezone():%H:%M:%S}", verdict.replace("_", " ").ljust(11)
    first, *more = _hanging(f"{at}  {word}  ", why, width)
    yield f"{at}  [{_COLOURS.get(verdict, 'cyan')}]{word}[/]{escape(first.removeprefix(f'{at}  {word}'))}"
    yield from map(escape, more)
    facts = _GLUE.join(fact.replace(" ", _NO_BREAK) for fact in _seen(decision))
    for line in _hanging(_INDENT, facts, width):
        yield f"[dim]{escape(line.replace(_NO_BREAK, ' '))}[/]"


def _verdict(decision: Decision) -> tuple[Verdict | Status, str]:
    """Return the ending of a deployment, else the verdict, and the reason."""
    return decision.ending or decision.verdict, decision.why


def _seen(decision: Decision) -> Iterator[str]:
    """What was decided about, one fact after the other; the words of one stay together."""
    match decision.source:
        case "delivery":
            yield from _delivered(decision)
        case "reconcile":
            yield "a look at the branch"
        case "deployment":
            yield decision.event or "a deployment"
            yield decision.deployment or "its record is gone"
        case "person":
            yield "a person's command"
    if decision.head:
        yield f"head {decision.head[:12]}"
    if decision.deployed:
        yield f"deployed {decision.deployed[:12]}"
    if decision.running:
        yield f"running {decision.running}"


def _delivered(decision: Decision) -> Iterator[str]:
    to = f" to {decision.ref.removeprefix('refs/heads/')}" if decision.ref else ""
    at = f" at {decision.claimed_commit[:12]}" if decision.claimed_commit else ""
    yield f"{decision.event or 'a request'}{to}{at}"
    if decision.verdict is Verdict.REFUSED:
        yield f"app {decision.app}" if decision.app else "no such app"
    if decision.repository:
        yield decision.repository
    if decision.delivery:
        yield f"delivery {decision.delivery}"
    if decision.deployment:
        yield decision.deployment


def _hanging(lead: str, text: str, width: int | None) -> list[str]:
    """Put a stranger's text, made harmless, beside a lead; broken between words, and in a word that is too long."""
    safe = sanitize(text, keep="")
    if width is None:
        return [f"{lead}{safe}"]
    width = max(width, len(lead) + _NARROWEST)
    wrapped = textwrap.wrap(
        safe, width, initial_indent=lead, subsequent_indent=_INDENT, break_on_hyphens=False, drop_whitespace=True
    )
    return wrapped or [lead]
