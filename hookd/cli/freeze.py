"""`hookd freeze` and `thaw`: block the deployments of an app, with a reason that everyone sees."""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click
from pydantic import ValidationError
from redis.exceptions import RedisError

from hookd import freezes
from hookd.cli import common
from hookd.cli.common import print_line
from hookd.cli.deploy import request_deployment
from hookd.cli.person import current_user, log_decision
from hookd.config import Config
from hookd.model.decision import Freeze, Verdict
from hookd.model.deployment import Trigger

_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_LONGEST: Final = timedelta(days=366)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_TIME_FORMAT: Final = "%Y-%m-%d %H:%M %Z"


@click.command(epilog="Example: hookd freeze shop --reason 'the sale' --until 2h")
@common.app_argument
@click.option("--reason", required=True, help="Shown with every push until the thaw.")
@click.option("--until", metavar="WHEN", help="30m, 2h, 3d, or '2026-12-24 18:00', default: until the thaw.")
@common.needs_config
def freeze(config: Config, app: str, reason: str, until: str | None) -> None:
    """Record pushes of an app without deploying them."""
    known, now = common.find_app(config.catalogue, app), datetime.now(UTC)
    before = common.active_freeze(config, known)
    try:
        end = parse_time(until, now) if until is not None else None
        since = before.since if before else now.replace(microsecond=0)
        new = Freeze(reason=" ".join(reason.split()), since=since, until=end, by=current_user())
    except ValidationError:
        common.fail("a reason has 1 to 300 characters", hint=f"hookd freeze {app} --reason TEXT")
    except ValueError as error:
        common.fail(str(error), hint=f"hookd freeze {app} --reason TEXT --until 2h")
    os.umask(0o022)  # Everyone may read the file.
    freezes.freeze(config.freeze_directory, app, new)
    # The freeze itself is a file.
    log_decision(config, known.name, Verdict.FROZEN, str(new))
    ends = f" until {format_time(end)}" if end else ""
    print_line(f"{app} is frozen{ends}: {new.reason}")
    if before:
        print_line(f"  before: {before}")
    print_line("  pushes are recorded and not deployed")
    common.print_next(f"hookd thaw {app}")


@click.command(epilog="Example: hookd thaw shop")
@common.app_argument
@click.option("--no-deploy", is_flag=True, help="Do not deploy the pushes of the meantime.")
@common.wait_option
@common.needs_config
def thaw(config: Config, app: str, no_deploy: bool, wait: bool) -> None:
    """End a freeze and deploy the pushes of the meantime."""
    known = common.find_app(config.catalogue, app)
    was_frozen = freezes.thaw(config.freeze_directory, app)
    print_line(f"{app} is {'no longer' if was_frozen else 'not'} frozen")
    if was_frozen:
        log_decision(config, known.name, Verdict.THAWED, f"{current_user()} ended the freeze")
    if was_frozen and not no_deploy:
        try:
            request_deployment(config, app, Trigger.UPDATE, wait=wait)
        except RedisError as error:
            cause, _ = common.describe_redis_error(error, config)
            common.fail(f"no deployment was requested: {cause}", hint=f"hookd update {app}", status=common.UNREACHABLE)
    common.print_next(f"hookd update {app}")


def parse_time(text: str, now: datetime) -> datetime:
    """Parse a duration or a date and time, in this host's zone by default. Raises ValueError."""
    duration = _DURATION.fullmatch(text.strip())
    try:
        if duration:
            end = now + timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        else:
            end = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time: 30m, 2h, 3d, or '2026-12-24 18:00'") from None
    if end > now + _LONGEST:
        raise ValueError(f"{format_time(end)} is more than a year away")
    if end <= now:
        raise ValueError(f"{format_time(end)} is in the past, now is {format_time(now)}")
    return end.replace(microsecond=0)


def format_time(at: datetime) -> str:
    """Format a time in UTC and, if it differs, in this host's zone."""
    utc, local = at.astimezone(UTC).strftime(_TIME_FORMAT), at.astimezone().strftime(_TIME_FORMAT)
    return utc if utc == local else f"{utc} ({local})"
