"""A person at the command line: the name, and the entry in the decision log."""

import os
import pwd
from contextlib import suppress
from datetime import UTC, datetime

from redis.exceptions import RedisError

from hookd.cli import common
from hookd.config import Config
from hookd.credentials import PasswordUnreadable
from hookd.model.decision import Decision, Verdict
from hookd.queue.published import append_decision


def log_decision(config: Config, app: str, verdict: Verdict, why: str) -> None:
    """Record a person's decision if Redis is there and the user may write to it."""
    decision = Decision(at=datetime.now(UTC), app=app, source="person", verdict=verdict, why=why)
    with suppress(RedisError, PasswordUnreadable):
        append_decision(common.open_store(config, reads=False).connection, decision)


def current_user() -> str:
    """Return the user's name. Under sudo, the name of the user who called it."""
    if os.geteuid() == 0 and (name := os.environ.get("SUDO_USER")):
        return name[:64]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
