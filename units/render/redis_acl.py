"""Renders the users of hookd's Redis, with the rights of their processes and no more. Overview: docs/queue.md.

The file holds hashes of passwords. Redis allows no comments in it.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from hookd.credentials import ROLES, Role, user_name
from hookd.model import redis_keys

# A deployment's id as a Redis pattern. Foreign jobs have other names.
_DEPLOYMENT: Final = "*-????????T?????????-??????"
# Login, database, client name, transactions. A category and not single commands: Redis 7.0 rejects a file that names
# `client|setinfo`, and redis-py sends it to every newer server. Without MULTI, redis-py sends the commands of a
# transaction one by one.
_CONNECTION: Final = "+@connection -@dangerous -client|tracking +multi +exec +discard +unwatch"
# RQ runs four scripts by their hashes. Their commands need the same rights.
_SCRIPTS: Final = "+evalsha +script|load +script|exists"

# In parentheses: commands with their keys. EXPIRE on other keys could delete a queue.
_RECEIVER: Final = (
    "+script|load +script|exists",
    f"(+watch +mget +set %RW~{redis_keys.waiting_key('*')} %RW~{redis_keys.push_key('*', '*')})",
    f"(+hget +hset +expire %RW~{redis_keys.record_key(_DEPLOYMENT)})",
    f"(+hincrby %RW~{redis_keys.coalesced_key('*')})",
    f"(+hdel %W~{redis_keys.polled_key('*')})",
    f"(+zadd %W~{redis_keys.history_key('*')})",
    f"(+xadd %W~{redis_keys.decisions_key('*')} %W~{redis_keys.REFUSALS})",
    f"(+hincrby +hset %RW~{redis_keys.counts_key('*')})",
    f"(+hget +hmget +hset %RW~rq:job:{_DEPLOYMENT})",
    "(+sadd %W~rq:queues %W~rq:rl-keys)",
    f"(+hset %W~rq:rl:{redis_keys.rate_limit_name('*')})",
    f"(+evalsha +zcard +zpopmin +zadd %RW~rq:rl:{redis_keys.rate_limit_name('*')}:allowed"
    f" %RW~rq:rl:{redis_keys.rate_limit_name('*')}:rate_limited)",
    f"(+rpush +lpush %W~rq:queue:{redis_keys.QUEUE})",
)
_STATUS: Final = (
    f"(+hget %R~{redis_keys.record_key('*')})",
    f"(+hmget %R~{redis_keys.coalesced_key('*')})",
    f"(+hgetall %R~{redis_keys.counts_key('*')})",
    f"(+zrange +zrevrange %R~{redis_keys.history_key('*')})",
    f"(+get +mget %R~{redis_keys.app_status_key('*')})",
    f"(+mget %R~{redis_keys.waiting_key('*')})",
    f"(+xrevrange %R~{redis_keys.decisions_key('*')})",
)
# Whole categories of commands on its own keys: one refused command would lose a job.
_WORKER: Final = (
    "~rq:* ~hookd:* &rq:pubsub:*",
    "+@string +@hash +@list +@set +@sortedset +@stream +@keyspace +@pubsub +@transaction -@dangerous +info",
    _SCRIPTS,
)
# Off, so that no client uses its rights. Redis reads its append-only file as this user, and without rights it drops
# every transaction in it (Debian 12's 7.0.15; redis/redis#14541, valkey-io/valkey#3983).
_DEFAULT: Final = "user default off resetpass ~* &* +@all"
# A person with `hookd`, `rq` and `redis-cli`. Only commands that end, empty or reconfigure the server are missing.
_OPERATOR: Final = ("~* &* +@all -@dangerous +info +keys +client|list +config|get +acl|log +slowlog|get",)

_RULES: Final[Mapping[Role, tuple[str, ...]]] = {
    "receiver": _RECEIVER,
    "status": _STATUS,
    "worker": _WORKER,
    "operator": _OPERATOR,
}


def acl(passwords: Mapping[Role, str]) -> str:
    """Render the file of users. Raises ValueError for a role without a password."""
    missing = [role for role in ROLES if not passwords.get(role)]
    if missing:
        raise ValueError(f"no password for {', '.join(missing)}")
    lines = [_user(role, passwords[role]) for role in ROLES]
    return "\n".join([_DEFAULT, *lines, ""])


def _user(role: Role, password: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    start = f"user {user_name(role)} on #{digest} resetkeys resetchannels -@all {_CONNECTION}"
    return " ".join([start, *_RULES[role]])
