"""Shows a deployment while it runs: live steps on a terminal, plain lines elsewhere, and its ending in one line."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.text import Text

from hookd.cli.common import safe_markup
from hookd.model.deployment import Deployment, Status, Step
from hookd.model.hint import render_hint
from hookd.queue.deployments import DeploymentStore
from hookd.queue.rq_keys import QUEUE_WORKERS

_POLL_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 3.0
_SIGNS: Final = {"done": "[green]✓[/]", "failed": "[red]✗[/]"}

EXIT_CODES: Final = {
    Status.SUCCEEDED: 0,
    Status.UNCHANGED: 0,
    Status.FAILED: 1,
    Status.ROLLED_BACK: 3,
    Status.ROLLBACK_FAILED: 4,
    Status.SUPERSEDED: 5,
    Status.CANCELLED: 5,
}
COLOURS: Final[Mapping[str, str]] = {
    Status.SUCCEEDED: "green",
    Status.UNCHANGED: "green",
    Status.FAILED: "red",
    Status.ROLLED_BACK: "yellow",
    Status.ROLLBACK_FAILED: "bold red",
}


def follow_deployment(
    store: DeploymentStore, deployment_id: str, console: Console, start_worker: str = "hookd worker"
) -> Deployment:
    """Show a deployment until it ends, and return it. Raises NoSuchDeployment and RedisError.

    `start_worker` is the command to show if no worker runs.
    """
    follow = _follow_live if console.is_terminal else _follow_plain
    deployment = follow(store, deployment_id, console, start_worker)
    console.print(format_ending(deployment), highlight=False, soft_wrap=True)
    if deployment.hint:
        hint = render_hint(deployment.hint, deployment.app, deployment.id)
        console.print(f"  next: [bold]{safe_markup(hint)}[/]", highlight=False, soft_wrap=True)
    return deployment


def _follow_live(store: DeploymentStore, deployment_id: str, console: Console, start_worker: str) -> Deployment:
    """Redraw the steps in place."""
    begin = time.monotonic()
    with Live(console=console, refresh_per_second=12, transient=False) as live:
        while True:
            deployment = store.get(deployment_id)
            lines: list[Text | Spinner] = [_live_step(step) for step in deployment.steps]
            if deployment.status is Status.QUEUED:
                lines.append(Spinner("dots", Text.from_markup(_waiting_text(store, begin, start_worker))))
            live.update(Padding(Group(*lines), (0, 0, 0, 2)))
            if deployment.ended:
                return deployment
            time.sleep(_POLL_SECONDS)


def _follow_plain(store: DeploymentStore, deployment_id: str, console: Console, start_worker: str) -> Deployment:
    """Print each step once, when it ends."""
    printed, is_wait_printed, begin = 0, False, time.monotonic()
    while True:
        deployment = store.get(deployment_id)
        ended = [step for step in deployment.steps if step.outcome != "running"]
        for step in ended[printed:]:
            console.print(_ended_step(step), highlight=False, soft_wrap=True)
        printed = len(ended)
        if deployment.ended:
            return deployment
        if deployment.status is Status.QUEUED and not is_wait_printed and time.monotonic() - begin > _PATIENCE_SECONDS:
            is_wait_printed = True
            console.print(_waiting_text(store, begin, start_worker), highlight=False, soft_wrap=True)
        time.sleep(_POLL_SECONDS)


def _waiting_text(store: DeploymentStore, begin: float, start_worker: str) -> str:
    """Return the reason of the wait. A worker that has just started may not be registered yet."""
    if time.monotonic() - begin < _PATIENCE_SECONDS or store.connection.scard(QUEUE_WORKERS):
        return "waiting for its turn"
    return f"waiting, but no worker runs\n  next: [bold]{start_worker}[/]"


def _live_step(step: Step) -> Text | Spinner:
    if step.outcome == "running":
        seconds = (datetime.now(UTC) - step.started_at).total_seconds()
        return Spinner("dots", Text.from_markup(f"{safe_markup(_label(step))} {seconds:6.1f} s"))
    return Text.from_markup(_ended_step(step).removeprefix("  "))


def _ended_step(step: Step) -> str:
    return f"  {_SIGNS[step.outcome]} {safe_markup(_label(step))} {step.seconds or 0:6.2f} s"


def _label(step: Step) -> str:
    detail = f" {step.detail}" if step.detail else ""
    return f"{step.name}{detail}".ljust(36)


def format_ending(deployment: Deployment) -> str:
    """Return the ending, or the current status, in one line of markup."""
    colour = COLOURS.get(deployment.status, "cyan")
    name = f"{deployment.app} {deployment.commit[:12]}" if deployment.commit else deployment.app
    subject = f" “{deployment.subject}”" if deployment.subject and not deployment.cause else ""
    seconds = ""
    if deployment.started_at and deployment.ended_at:
        seconds = f" after {(deployment.ended_at - deployment.started_at).total_seconds():.2f} s"
    cause = f": {deployment.cause}" if deployment.cause else ""
    status = deployment.status.replace("_", " ")
    return f"[{colour}]{status}[/] {safe_markup(f'{name}{subject}{seconds}{cause}')}"
