"""Decisions as text: by day, each with its time, its verdict and why, and below it what was seen."""

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from rich.markup import escape

from hookd.cli.terminal import harmless
from hookd.contract.decision import Decision, Verdict
from hookd.contract.deployment import ENDINGS, Status

_INDENT: Final = " " * 23
_GLUE: Final = " · "
_NO_BREAK: Final = "\u00a0"
_NARROWEST: Final = 30
_COLOURS: Final = {
    Verdict.QUEUED: "green",
    Verdict.UNCHANGED: "green",
    Verdict.REFUSED: "red",
    Verdict.UNREACHABLE: "red",
    Verdict.FILTERED: "yellow",
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


def tell(decisions: Iterable[Decision], width: int | None) -> Iterator[str]:
    """Write decisions as rich's markup, one under the other; lines end at `width`, if there is one."""
    for day, group in groupby(decisions, lambda decision: f"{decision.at.astimezone():%A, %Y-%m-%d (%Z)}"):
        yield f"[bold]{day}[/]"
        for decision in group:
            yield from _told(decision, width)


def _told(decision: Decision, width: int | None) -> Iterator[str]:
    verdict, why = _verdict(decision)
    at, word = f"{decision.at.astimezone():%H:%M:%S}", verdict.replace("_", " ").ljust(11)
    first, *more = _hanging(f"{at}  {word}  ", why, width)
    yield f"{at}  [{_COLOURS.get(verdict, 'cyan')}]{word}[/]{escape(first.removeprefix(f'{at}  {word}'))}"
    yield from map(escape, more)
    facts = _GLUE.join(fact.replace(" ", _NO_BREAK) for fact in _seen(decision))
    for line in _hanging(_INDENT, facts, width):
        yield f"[dim]{escape(line.replace(_NO_BREAK, ' '))}[/]"


def _verdict(decision: Decision) -> tuple[Verdict | Status, str]:
    """What was decided; where something was deployed, how that ended."""
    status, _, cause = decision.why.partition(": ")
    if decision.verdict is Verdict.ENDED and status in ENDINGS:
        return Status(status), cause
    return decision.verdict, decision.why


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
    safe = harmless(text, keep="")
    if width is None:
        return [f"{lead}{safe}"]
    width = max(width, len(lead) + _NARROWEST)
    wrapped = textwrap.wrap(
        safe, width, initial_indent=lead, subsequent_indent=_INDENT, break_on_hyphens=False, drop_whitespace=True
    )
    return wrapped or [lead]
