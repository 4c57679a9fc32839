"""Redis: it answers, admits only its own users, and keeps its data through a restart."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from hookd.config import ConfigError
from hookd.credentials import ROLES, Role, cli_user, redis_user, user_name
from hookd.queue.client import cli_client, is_denied, no_answer, receiver_client
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.system import layout

_UNIT: Final = f"{layout.REDIS}.service"
_RESTART: Final = f"sudo systemctl restart {_UNIT}"
_LOG: Final = f"journalctl --unit {_UNIT} --lines 50"
# Clients read their password at start. A worker whose login is refused retries for two minutes.
_WORKERS: Final = " ".join(layout.WORKERS)
_RESET_PASSWORDS: Final = f"sudo systemctl stop {_WORKERS} && sudo hookd setup && {_RESTART} hookd.service {_WORKERS}"
_DENIALS_SECONDS: Final = 86_400
_MEMORY_WARNING: Final = 0.8


def check(context: HostContext) -> Iterator[Finding]:
    """Check the server, its settings, its denials and its users."""
    redis = context.settings.redis
    try:
        with closing(cli_client(redis.url, cli_user(context.config, reads=True))) as connection:
            memory = connection.info("memory")
            yield from check_persistence(connection.info("persistence"))
            yield from check_memory(memory)
            yield ok(f"Redis answers and uses {memory['used_memory_human']}")
            if redis.passwords is None:
                return
            context.require_root("read the denials and the passwords of Redis")
            yield from _check_denials(connection)
    except AuthenticationError:
        yield error("Redis rejected the operator's password", _RESET_PASSWORDS)
    except (ConnectionError, TimeoutError) as failure:
        if is_denied(failure):
            raise CannotCheck("you may not use Redis", AS_ROOT) from None
        yield error(no_answer(redis.url), f"{_RESTART}; {_LOG}")
        return
    for role in ROLES:
        yield from _check_login(context, role)
    with closing(receiver_client(redis.url)) as anonymous:
        try:
            anonymous.ping()
        except RedisError:
            return
    yield error("Redis accepts connections without a password", _RESET_PASSWORDS)


def check_persistence(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that Redis writes its append-only file."""
    if found.get("aof_enabled") != 1:
        message = "Redis writes no append-only file: a restart loses waiting deployments"
        yield error(message, f"sudo hookd setup && {_RESTART}")
    elif found.get("aof_last_write_status") != "ok":
        yield error("Redis cannot write its append-only file", f"df -h {layout.REDIS_STATE}")
    elif found.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield warning("Redis cannot shorten its append-only file", f"df -h {layout.REDIS_STATE}; {_LOG}")


def check_memory(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that Redis evicts no keys and has memory left."""
    policy, used, limit = found.get("maxmemory_policy"), found.get("used_memory", 0), found.get("maxmemory", 0)
    if policy != "noeviction":
        message = f"Redis evicts keys if its memory is full ({policy}): deployments get lost"
        yield error(message, f"sudo hookd setup && {_RESTART}")
    if limit and used > _MEMORY_WARNING * limit:
        message = f"Redis uses {used * 100 // limit} % of its memory, a lower history.keep helps"
        yield warning(message, f"sudoedit {layout.CONFIG}")


def _check_denials(redis: Redis) -> Iterator[Finding]:
    """Report accesses that Redis denied within a day."""
    entries = redis.acl_log(count=50)
    recent = [entry for entry in entries if float(str(entry["age-seconds"])) < _DENIALS_SECONDS]
    if recent:
        user, reason, denied, count = (recent[0][key] for key in ("username", "reason", "object", "count"))
        last = f"the user {user!r}, {reason} {denied!r}, {count} times"
        message = f"Redis denied {len(recent)} kinds of access within a day, last: {last}"
        yield warning(message, "journalctl --unit 'hookd*' --since -1d")


def _check_login(context: HostContext, role: Role) -> Iterator[Finding]:
    name = user_name(role)
    try:
        with closing(cli_client(context.settings.redis.url, redis_user(context.config, role))) as redis:
            redis.ping()  # Every role may ping.
    except AuthenticationError:
        yield error(f"Redis rejected the password of {name}", _RESET_PASSWORDS)
    except (ConfigError, RedisError) as failure:
        yield error(f"{name} cannot use Redis: {failure}", _RESET_PASSWORDS)
