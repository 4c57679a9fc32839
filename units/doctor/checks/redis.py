"""Redis: it answers, each of its users gets in and nobody else does, and what it is told is on disk and stays."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError, TimeoutError

from hookd.config import ConfigError
from hookd.credentials import ROLES, Role, redis_user, user_name
from hookd.queue.client import cli_client, receiver_client
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, unknown, warning
from units.system import layout

GOOD: Final = "it answers, lets in whom it should, and keeps what it is told"
_UNIT: Final = f"{layout.REDIS}.service"
_RESTART: Final = f"sudo systemctl restart {_UNIT}"
_LOG: Final = f"journalctl --unit {_UNIT} --lines 50"
# Whoever logs in to Redis read its password at its start; a worker that is refused asks again for two minutes.
_WORKERS: Final = " ".join(map(layout.worker_unit, layout.INSTANCES))
_RESET_PASSWORDS: Final = f"sudo systemctl stop {_WORKERS} && sudo hookd setup && {_RESTART} hookd.service {_WORKERS}"
# A denial says that a process tried what it must not; what lies longer back was seen by an earlier run.
_DENIALS_SECONDS: Final = 86_400
_MEMORY_WARNING: Final = 0.8


def check(subject: HostContext) -> Iterator[Finding]:
    """Look at the server, its users and its settings."""
    url = subject.settings.redis.url
    try:
        with closing(subject.redis()) as redis:
            redis.ping()
            yield from _check_settings(redis)
            yield from _check_denials(redis)
    except AuthenticationError as refused:
        yield error(f"Redis lets the operator not in: {refused}", _RESET_PASSWORDS)
    except (ConnectionError, TimeoutError) as failure:
        yield error(f"Redis does not answer at {url}, so pushes are refused with 503: {failure}", f"{_RESTART}; {_LOG}")
        return
    yield from _check_users(subject)


def _check_settings(redis: Redis) -> Iterator[Finding]:
    memory, disk = redis.info("memory"), redis.info("persistence")
    yield from check_persistence(disk)
    yield from check_memory(memory)
    yield ok(f"it answers, with {memory.get('used_memory_human', '?')} in use")


def check_persistence(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Say whether what Redis is told would survive its restart."""
    if found.get("aof_enabled") != 1:
        lost = "Redis writes no append-only file: a restart forgets deployments that wait"
        yield error(lost, f"sudo hookd setup && {_RESTART}")
    elif found.get("aof_last_write_status") != "ok":
        yield error(
            "Redis cannot write its append-only file, and soon refuses every push", f"df -h {layout.REDIS_STATE}"
        )
    elif found.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield warning(
            "Redis could not shorten its append-only file, which grows", f"df -h {layout.REDIS_STATE}; {_LOG}"
        )


def check_memory(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Say whether Redis throws things away, or is about to refuse them."""
    policy, used, limit = found.get("maxmemory_policy"), found.get("used_memory", 0), found.get("maxmemory", 0)
    if policy != "noeviction":
        mend = f"sudo hookd setup && {_RESTART}"
        yield error(
            f"Redis drops keys when its memory is full ({policy}): deployments could vanish without a word", mend
        )
    if limit and used > _MEMORY_WARNING * limit:
        mend = f"lower history.keep: sudoedit {layout.CONFIG}"
        yield warning(f"Redis uses {used * 100 // limit} % of its memory; when it is full, pushes are refused", mend)


def _check_denials(redis: Redis) -> Iterator[Finding]:
    """Say who tried what Redis' rules deny; reading the log is itself only the operator's right."""
    try:
        entries = redis.acl_log(count=50)
    except NoPermissionError:
        yield unknown("what Redis' rules denied can be read by the operator alone", "sudo hookd doctor")
        return
    recent = [entry for entry in entries if float(str(entry.get("age-seconds", 0))) < _DENIALS_SECONDS]
    if recent:
        show = "journalctl --unit 'hookd*' --since -1d"
        yield warning(
            f"Redis denied {len(recent)} kinds of access within a day, the last: {format_denial(recent[0])}", show
        )


def format_denial(entry: Mapping[str, Any]) -> str:
    """Put one entry of Redis' log of denials in words."""
    user, reason, what = (entry.get(key, "?") for key in ("username", "reason", "object"))
    return f"the user {user!r}, {reason} {what!r}, {entry.get('count', 1)} times"


def _check_users(subject: HostContext) -> Iterator[Finding]:
    url = subject.settings.redis.url
    if subject.settings.redis.passwords is None:
        return
    for role in ROLES:
        yield from _check_login(subject, role)
    with closing(receiver_client(url)) as stranger:
        try:
            stranger.ping()
        except RedisError:
            return
    yield error(
        "Redis lets in whoever reaches its socket without a password: such a one could deploy", _RESET_PASSWORDS
    )


def _check_login(subject: HostContext, role: Role) -> Iterator[Finding]:
    try:
        user = redis_user(subject.config, role)
        with closing(cli_client(subject.settings.redis.url, user)) as redis:
            # Not every role may say more than who it is, and that is all that is asked.
            redis.ping()
    except ConfigError as problem:
        if isinstance(problem.__cause__, PermissionError):
            yield unknown(f"the password of {user_name(role)} is closed to you", "sudo hookd doctor")
        else:
            yield error(str(problem), _RESET_PASSWORDS)
    except AuthenticationError:
        yield error(f"Redis refuses the password of its user {user_name(role)}", _RESET_PASSWORDS)
    except RedisError as failure:
        yield error(f"{user_name(role)} cannot work with Redis: {failure}", _RESET_PASSWORDS)
