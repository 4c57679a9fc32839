"""Shows a deployment while it runs: live steps on a terminal, plain lines elsewhere, one line for its ending."""

import re
import time
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from hookd.contract import queue as names
from hookd.contract.deployment import Deployment, Status, Step
from hookd.store.records import Records

_PAUSE_SECONDS: Final = 0.1
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PATIENCE_SECONDS: Final = 3.0
_SIGNS: Final = {"done": "[green]✓[/]", "failed": "[red]✗[/]"}

# What a script learns from the exit status; the README lists them.
EXIT_CODES: Final = {
    Status.SUCCEEDED: 0,
    Status.UNCHANGED: 0,
    Status.FAILED: 1,
    Status.ROLLED_BACK: 3,
    Status.ROLLBACK_FAILED: 4,
    Status.SUPERSEDED: 5,
    Status.CANCELLED: 5,
}
_COLOURS: Final = {
    Status.SUCCEEDED: "green",
    Status.UNCHANGED: "green",
    Status.FAILED: "red",
    Status.ROLLED_BACK: "yellow",
    Status.ROLLBACK_FAILED: "bold red",
}


def follow(records: Records, deployment_id: str, console: Console) -> Deployment:
    """Show a deployment until it ends, and return its record; raises NoSuchDeployment and RedisError."""
    if console.is_terminal:
        record = _follow_live(records, deployment_id, console)
    else:
        record = _follow_plain(records, deployment_id, console)
    console.print(ending_line(record), highlight=False, soft_wrap=True)
    if record.hint:
        console.print(f"  next: [bold]{shown(record.hint)}[/]", highlight=False, soft_wrap=True)
    return record


def _follow_live(records: Records, deployment_id: str, console: Console) -> Deployment:
    """Redraw the steps in place."""
    asked = time.monotonic()
    with Live(console=console, refresh_per_second=12, transient=False) as live:
        while True:
            record = records.get(deployment_id)
            lines: list[Text | Spinner] = [_step(step) for step in record.steps]
            if record.status is Status.QUEUED:
                lines.append(Spinner("dots", Text.from_markup(_waiting(records, asked))))
            live.update(Padding(Group(*lines), (0, 0, 0, 2)))
            if record.ended:
                return record
            time.sleep(_PAUSE_SECONDS)


def _follow_plain(records: Records, deployment_id: str, console: Console) -> Deployment:
    """Print each step once, when it is over."""
    printed = 0
    said_waiting = False
    asked = time.monotonic()
    while True:
        record = records.get(deployment_id)
        over = [step for step in record.steps if step.outcome != "running"]
        for step in over[printed:]:
            console.print(_plain(step), highlight=False, soft_wrap=True)
        printed = len(over)
        if record.ended:
            return record
        if record.status is Status.QUEUED and not said_waiting and time.monotonic() - asked > _PATIENCE_SECONDS:
            said_waiting = True
            console.print(_waiting(records, asked), highlight=False, soft_wrap=True)
        time.sleep(_PAUSE_SECONDS)


def _waiting(records: Records, asked: float) -> str:
    """Say what a queued deployment waits for; without a worker it waits for ever."""
    if time.monotonic() - asked < _PATIENCE_SECONDS or records.connection.scard(f"rq:workers:{names.QUEUE}"):
        return "waiting for its turn"
    return "waiting: no worker is running. Start one: [bold]hookd worker[/]"


def _step(step: Step) -> Text | Spinner:
    if step.outcome == "running":
        seconds = (datetime.now(UTC) - step.started_at).total_seconds()
        return Spinner("dots", Text(f"{_label(step)} {seconds:6.1f} s"))
    return Text.from_markup(_plain(step).removeprefix("  "))


def _plain(step: Step) -> str:
    return f"  {_SIGNS[step.outcome]} {shown(_label(step))} {step.seconds or 0:6.2f} s"


def _label(step: Step) -> str:
    detail = f" {step.detail}" if step.detail else ""
    return f"{step.name}{detail}".ljust(36)


def visible(text: str) -> str:
    """Make a stranger's text harmless for a terminal: what would steer it is written out."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def shown(text: str) -> str:
    """Make a stranger's text harmless for a terminal and for rich's own markup."""
    return escape(visible(text))


def ending_line(record: Deployment) -> str:
    """Say in one line how a deployment ended, or where it stands."""
    colour = _COLOURS.get(record.status, "cyan")
    what = shown(f"{record.app} {record.commit[:12]}" if record.commit else record.app)
    about = shown(f" “{record.subject}”" if record.subject and not record.cause else "")
    seconds = ""
    if record.started_at and record.ended_at:
        seconds = f" after {(record.ended_at - record.started_at).total_seconds():.2f} s"
    cause = f": {shown(record.cause)}" if record.cause else ""
    return f"[{colour}]{record.status.replace('_', ' ')}[/] {what}{about}{seconds}{cause}"
