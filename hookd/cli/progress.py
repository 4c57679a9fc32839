"""Shows a deployment while it runs: live steps on a terminal, plain lines elsewhere, one line for its ending."""

import time
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from hookd.cli.safe_text import sanitize_markup
from hookd.model import redis_keys
from hookd.model.deployment import Deployment, Status, Step
from hookd.model.hint import render_hint
from hookd.queue.deployments import DeploymentStore

_PAUSE_SECONDS: Final = 0.1
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


def follow_deployment(
    records: DeploymentStore, deployment_id: str, console: Console, start_worker: str = "hookd worker"
) -> Deployment:
    """Show a deployment until it ends, and return its record; raises NoSuchDeployment and RedisError.

    `start_worker` is what a person is told to type when no worker runs.
    """
    follow_it = _follow_live if console.is_terminal else _follow_plain
    record = follow_it(records, deployment_id, console, start_worker)
    console.print(ending_line(record), highlight=False, soft_wrap=True)
    if record.hint:
        hint = render_hint(record.hint, record.app, record.id)
        console.print(f"  next: [bold]{sanitize_markup(hint)}[/]", highlight=False, soft_wrap=True)
    return record


def _follow_live(records: DeploymentStore, deployment_id: str, console: Console, start_worker: str) -> Deployment:
    """Redraw the steps in place."""
    asked = time.monotonic()
    with Live(console=console, refresh_per_second=12, transient=False) as live:
        while True:
            record = records.get(deployment_id)
            lines: list[Text | Spinner] = [_step(step) for step in record.steps]
            if record.status is Status.QUEUED:
                lines.append(Spinner("dots", Text.from_markup(_waiting(records, asked, start_worker))))
            live.update(Padding(Group(*lines), (0, 0, 0, 2)))
            if record.ended:
                return record
            time.sleep(_PAUSE_SECONDS)


def _follow_plain(records: DeploymentStore, deployment_id: str, console: Console, start_worker: str) -> Deployment:
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
            console.print(_waiting(records, asked, start_worker), highlight=False, soft_wrap=True)
        time.sleep(_PAUSE_SECONDS)


def _waiting(records: DeploymentStore, asked: float, start_worker: str) -> str:
    """Say what a queued deployment waits for; without a worker it waits for ever."""
    if time.monotonic() - asked < _PATIENCE_SECONDS or records.connection.scard(f"rq:workers:{redis_keys.QUEUE}"):
        return "waiting for its turn"
    return f"waiting: no worker is running. Start one: [bold]{start_worker}[/]"


def _step(step: Step) -> Text | Spinner:
    if step.outcome == "running":
        seconds = (datetime.now(UTC) - step.started_at).total_seconds()
        return Spinner("dots", Text.from_markup(f"{sanitize_markup(_label(step))} {seconds:6.1f} s"))
    return Text.from_markup(_plain(step).removeprefix("  "))


def _plain(step: Step) -> str:
    return f"  {_SIGNS[step.outcome]} {sanitize_markup(_label(step))} {step.seconds or 0:6.2f} s"


def _label(step: Step) -> str:
    detail = f" {step.detail}" if step.detail else ""
    return f"{step.name}{detail}".ljust(36)


def ending_line(record: Deployment) -> str:
    """Say in one line how a deployment ended, or where it stands."""
    colour = _COLOURS.get(record.status, "cyan")
    what = sanitize_markup(f"{record.app} {record.commit[:12]}" if record.commit else record.app)
    about = sanitize_markup(f" “{record.subject}”" if record.subject and not record.cause else "")
    seconds = ""
    if record.started_at and record.ended_at:
        seconds = f" after {(record.ended_at - record.started_at).total_seconds():.2f} s"
    cause = f": {sanitize_markup(record.cause)}" if record.cause else ""
    return f"[{colour}]{record.status.replace('_', ' ')}[/] {what}{about}{seconds}{cause}"
