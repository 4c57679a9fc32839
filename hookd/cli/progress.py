"""Shows a deployment while it runs: live steps on a terminal, plain lines elsewhere, and its ending in one line."""

import math
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import click

from hookd.cli.common import print_next
from hookd.commands import resume_command, start_command
from hookd.config import Config
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status, Step
from hookd.model.hint import render_hint
from hookd.model.text import printable
from hookd.queue.deployments import DeploymentStore
from hookd.queue.rq_keys import QUEUE_WORKERS, SUSPENDED

POLL_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 3.0
_SIGNS: Final = {"running": "…", "done": click.style("✓", "green"), "failed": click.style("✗", "red")}

EXIT_CODES: Final = {
    Status.SUCCEEDED: 0,
    Status.UNCHANGED: 0,
    Status.FAILED: 1,
    Status.ROLLED_BACK: 3,
    Status.ROLLBACK_FAILED: 4,
    Status.SUPERSEDED: 5,
    Status.CANCELLED: 5,
}
_COLOURS: Final[Mapping[str, frozenset[str]]] = {
    "green": frozenset({Status.SUCCEEDED, Status.UNCHANGED, Verdict.THAWED, Verdict.RESTORED}),
    "yellow": frozenset(
        {Status.ROLLED_BACK, Verdict.SKIPPED, Verdict.QUARANTINED, Verdict.PINNED, Verdict.FROZEN, Verdict.STOPPED}
    ),
    "red": frozenset({Status.FAILED, Status.ROLLBACK_FAILED, Verdict.REFUSED, Verdict.UNREACHABLE}),
}


def follow_deployment(
    config: Config, store: DeploymentStore, deployment_id: str, *, shows_hint: bool = True
) -> Deployment:
    """Show a deployment until it ends, and return it. Raises NoSuchDeployment and RedisError.

    A terminal shows the running step in its last line.
    """
    clear = "\r\x1b[K" if sys.stdout.isatty() else ""
    patience_end, printed = time.monotonic() + _PATIENCE_SECONDS, 0
    while not (deployment := store.get(deployment_id)).ended:
        printed = _print_ended_steps(deployment, printed, clear)
        if deployment.status is Status.QUEUED and time.monotonic() > patience_end:
            patience_end = math.inf
            _print_wait(config, store)
        for step in deployment.steps if clear else ():
            if step.outcome == "running":
                click.echo(clear + _format_step(step)[: shutil.get_terminal_size().columns - 1], nl=False)
        time.sleep(POLL_SECONDS)
    _print_ended_steps(deployment, printed, clear)
    click.echo(clear + format_ending(deployment))
    if deployment.hint and shows_hint:
        print_next(render_hint(deployment.hint, deployment.app, deployment.id))
    return deployment


def _print_ended_steps(deployment: Deployment, printed: int, clear: str) -> int:
    """Print the steps that ended after the `printed` ones, and return the number of all."""
    ended = [step for step in deployment.steps if step.outcome != "running"]
    for step in ended[printed:]:
        click.echo(clear + _format_step(step))
    return len(ended)


def _print_wait(config: Config, store: DeploymentStore) -> None:
    reason, command = explain_wait(config, store)
    click.echo(reason)
    if command:
        print_next(command)


def explain_wait(config: Config, store: DeploymentStore) -> tuple[str, str]:
    """Return why a deployment waits, and the command that ends this, or "".

    A worker that has just started may not be registered yet.
    """
    if store.connection.exists(SUSPENDED):
        return "waiting, the queue is suspended", resume_command(config)
    if not store.connection.scard(QUEUE_WORKERS):
        return "waiting, but no worker runs", start_command("worker", config)
    return "waiting for its turn", ""


def _format_step(step: Step) -> str:
    seconds = (datetime.now(UTC) - step.started_at).total_seconds() if step.seconds is None else step.seconds
    label = printable(f"{step.name} {step.detail or ''}".ljust(36))
    return f"  {_SIGNS[step.outcome]} {label} {seconds:6.2f} s"


def colour(status: Status | Verdict) -> str:
    """Return the colour of an ending or a decision."""
    return next((name for name, members in _COLOURS.items() if status in members), "cyan")


def format_ending(deployment: Deployment) -> str:
    """Return the ending, or the current status, in one line with its colour.

    An unchanged app is shown with the commit that it serves, and not with the head that it did not deploy.
    """
    commit = deployment.previous_commit if deployment.status is Status.UNCHANGED else deployment.commit
    name = f"{deployment.app} {commit[:12]}" if commit else deployment.app
    subject = f" “{deployment.subject}”" if deployment.subject and not deployment.cause else ""
    seconds = ""
    if deployment.started_at and deployment.ended_at:
        seconds = f" after {(deployment.ended_at - deployment.started_at).total_seconds():.2f} s"
    cause = f": {deployment.cause}" if deployment.cause else ""
    status = click.style(deployment.status.replace("_", " "), colour(deployment.status))
    return f"{status} {printable(f'{name}{subject}{seconds}{cause}')}"
