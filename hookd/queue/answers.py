"""Existing deployments that can answer a request: the app's waiting one, and the earlier one of the same push.

A push is known by its signed payload, not by the sender's delivery id. The id is not signed, so a replay can have any,
and a redelivery of Gitea has a new one. An app has 4096 places for pushes. A push takes the place of the older one
whose fingerprint has the same first digits, and is forgotten after a week.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from redis.client import Pipeline

from hookd.model import redis_keys
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status, decode
from hookd.model.ids import app_of, is_deployment
from hookd.queue.client import watch

# A redelivery and a replay look alike, so their number is limited. After that a person types `hookd deploy`.
MAX_RETRIES: Final = 10
# Senders redeliver within days.
_SECONDS: Final = 7 * 86_400


@dataclass(frozen=True)
class Answer:
    """The deployment that answers a push, and the number of the push's retries."""

    deployment: str
    retries: int = 0


@dataclass(frozen=True)
class Candidates:
    """The waiting deployment, and the earlier one of the same push, unless it ended badly and is retried.

    `retries` is then the number of retries, this one included.
    """

    waiting: Deployment | None
    earlier: Deployment | None = None
    retries: int = 0


def watch_candidates(pipeline: Pipeline, app: str, fingerprint: str | None) -> Candidates:
    """Watch and return an app's candidates. `fingerprint` is the SHA-256 of a push's payload.

    All reads use the watching connection, because a busy receiver may have no second connection left.
    """
    keys = [redis_keys.waiting_key(app), *([redis_keys.push_key(app, fingerprint)] if fingerprint else [])]
    watch(pipeline, *keys)
    waiting_id, *places = map(_text, pipeline.mget(keys))
    found = _find_own(pipeline, app, waiting_id)
    waiting = found if found is not None and found.status is Status.QUEUED else None
    answer = _parse(fingerprint, places[0]) if fingerprint else None
    earlier = _find_own(pipeline, app, answer.deployment) if answer else None
    if answer is None or earlier is None:
        return Candidates(waiting)
    if earlier.status in RETRYABLE_ENDINGS and answer.retries < MAX_RETRIES:
        return Candidates(waiting, retries=answer.retries + 1)
    return Candidates(waiting, earlier)


def remember(pipeline: Pipeline, app: str, fingerprint: str, answer: Answer, keep_seconds: int) -> None:
    """Store the answer to a push, for a week or for the shorter lifetime of the deployment's record."""
    value = f"{fingerprint} {answer.deployment} {answer.retries}"
    pipeline.set(redis_keys.push_key(app, fingerprint), value, ex=min(keep_seconds, _SECONDS))


def hasten_poll(pipeline: Pipeline, app: str) -> None:
    """Make the next round of reconciliation poll an app. Two pushes can have one payload, such as of a forced push."""
    pipeline.hdel(redis_keys.polled_key(app), "run_id")


def _text(raw: Any) -> str:
    """Return Redis' reply as text."""
    return bytes(raw or b"").decode("utf-8", "replace")


def _parse(fingerprint: str, value: str) -> Answer | None:
    """Return the answer in a push's place, or None for that of another push and for an invalid one."""
    match value.split(" "):
        case [found, deployment, retries] if found == fingerprint and re.fullmatch("[0-9]{1,4}", retries):
            return Answer(deployment, int(retries))
    return None


def _find_own(pipeline: Pipeline, app: str, deployment_id: str) -> Deployment | None:
    """Return one of the app's deployments. The receiver may read no other record."""
    if not is_deployment(deployment_id) or app_of(deployment_id) != app:
        return None
    raw: Any = pipeline.hget(redis_keys.record_key(deployment_id), redis_keys.RECORD)
    return decode(deployment_id, raw)
