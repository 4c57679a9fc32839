"""`hookd freeze` and `thaw`: nobody deploys an app for a while, and everybody sees why."""

import os
import pwd
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import click
from pydantic import ValidationError
from redis.exceptions import RedisError

from hookd import freezes
from hookd.cli.common import (
    UNREACHABLE,
    console,
    find_app,
    needs_config,
    open_records,
    start_commands,
    stop,
    wait_option,
)
from hookd.cli.deploy import request_deployment
from hookd.cli.safe_text import sanitize_markup
from hookd.cli.status import frozen
from hookd.config import Config
from hookd.credentials import PasswordUnreadable
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict, short_text
from hookd.model.deployment import Trigger
from hookd.model.eligibility import Freeze
from hookd.queue.decision_log import append_decision

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_MOMENT: Final = "%Y-%m-%d %H:%M %Z"


class InvalidTime(ValueError):
    """What a person typed names no moment to come."""


@click.command()
@click.argument("app")
@click.option("--reason", required=True, help="Why, for everybody who wonders.")
@click.option(
    "--until", metavar="WHEN", help="30m, 2h, 3d, or a moment such as '2026-12-24 18:00'; default: until it is thawed."
)
@needs_config
def freeze(config: Config, app: str, reason: str, until: str | None) -> None:
    """Leave APP as it is: pushes are recorded, and nothing is deployed, until its end or `hookd thaw`."""
    known, now = find_app(config.catalogue, app), datetime.now(UTC)
    before = frozen(config, known)
    try:
        end = parse_time(until, now) if until is not None else None
        since = before.since if before else now.replace(microsecond=0)
        wanted = Freeze(reason=" ".join(reason.split()), since=since, until=end, by=current_user())
    except InvalidTime as error:
        stop(str(error), hint=f"hookd freeze {app} --reason TEXT --until 2h")
    except ValidationError:
        stop("a reason is one line of at most 300 characters", hint=f"hookd freeze {app} --reason TEXT")
    with _allowed():
        freezes.freeze(config.frozen, app, wanted)
    _keep(config, known, Verdict.FROZEN, str(wanted))
    ends = f" until {format_time(end)}" if end else ""
    console.print(f"{app} is frozen{ends}: {sanitize_markup(wanted.reason)}", soft_wrap=True)
    if before:
        console.print(f"  it was {sanitize_markup(str(before))}", soft_wrap=True)
    console.print("  pushes are recorded, nothing is deployed", soft_wrap=True)
    console.print(f"  to end it: [bold]{freezes.thaw_command(config.frozen, app)}[/]", soft_wrap=True)


@click.command()
@click.argument("app")
@click.option("--no-deploy", is_flag=True, help="Do not deploy what was pushed meanwhile.")
@wait_option
@needs_config
def thaw(config: Config, app: str, no_deploy: bool, wait: bool) -> None:
    """End APP's freeze, and deploy what was pushed meanwhile."""
    known = find_app(config.catalogue, app)
    with _allowed():
        was_frozen = freezes.thaw(config.frozen, app)
    console.print(f"{app} is no longer frozen" if was_frozen else f"{app} is not frozen", soft_wrap=True)
    if was_frozen:
        _keep(config, known, Verdict.THAWED, f"{current_user()} ended the freeze")
    if was_frozen and not no_deploy:
        try:
            request_deployment(config, known, Trigger.UPDATE, None, wait=wait, json_output=False)
        except RedisError as error:
            said = f"what was pushed meanwhile was not asked for: {error}"
            stop(said, hint=f"{start_commands(config).redis}, then: hookd update {app}", status=UNREACHABLE)
    console.print(f"  to deploy what is new: [bold]hookd update {app}[/]", soft_wrap=True)


def _keep(config: Config, app: App, verdict: Verdict, why: str) -> None:
    """Keep for people what a person decided; a Redis that is away, or that this person may not use, is no reason."""
    decision = Decision(at=datetime.now(UTC), app=app.name, source="person", verdict=verdict, why=short_text(why))
    with suppress(RedisError, PasswordUnreadable):
        append_decision(open_records(config, reads=False).connection, decision)


def parse_time(text: str, now: datetime) -> datetime:
    """Read a moment to come: a span from now, or a date and time, in this host's zone if it names none.

    Raises NoMoment.
    """
    span = _SPAN.fullmatch(text.strip())
    try:
        if span:
            end = now + timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            end = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidTime(
            f"{text!r} is no moment: 30m, 2h, 3d, or a date and time such as '2026-12-24 18:00'"
        ) from None
    if end <= now:
        raise InvalidTime(f"{format_time(end)} is over already; it is {format_time(now)} now")
    return end.replace(microsecond=0)


def format_time(at: datetime) -> str:
    """Write a moment in UTC and in this host's zone."""
    there, here = at.astimezone(UTC).strftime(_MOMENT), at.astimezone().strftime(_MOMENT)
    return there if there == here else f"{there} ({here})"


def current_user() -> str:
    """Name whoever types: the one who called sudo, else whose account it is."""
    if os.geteuid() == 0 and (name := os.environ.get("SUDO_USER")):
        return name[:64]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@contextmanager
def _allowed() -> Iterator[None]:
    """Say what to type when the directory is another's, on a server root's; what is written there all may read."""
    os.umask(0o022)
    try:
        yield
    except PermissionError:
        stop("only root can do this", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
    except OSError as error:
        stop(f"{error.filename} cannot be changed: {error.strerror}", hint="hookd doctor", status=1)


COMMANDS = (freeze, thaw)
