"""Published facts in Redis: the status of each app, and the decisions about it.

The journal stays the truth. The decisions are a bounded stream per app, and one of refused signatures.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Self

from pydantic import AwareDatetime, BaseModel, ValidationError
from redis import Redis
from redis.client import Pipeline

from hookd.model import redis_keys
from hookd.model.decision import Decision, Freeze, Lag, Verdict
from hookd.model.deployment import MAX_RECORD_BYTES
from hookd.model.ids import AppName, CommitId, ReleaseName
from hookd.model.written import WrittenFiles

# One or two days of decisions. For 1000 apps they take 80 MB.
MAX_ENTRIES: Final = 200


class Quarantine(BaseModel, frozen=True):
    """A commit that is not deployed again without a person."""

    commit: CommitId
    since: AwareDatetime
    cause: str


class AppStatus(BaseModel, frozen=True):
    """An app as the worker last saw it.

    `healthy` is None until the first health check. `drift` is the difference between the running and the deployed
    release, or the reason why the app is unhealthy. `skipped_commit` is a head that changes none of the app's paths.
    `written` are the files that the app wrote into its releases.
    """

    app: AppName
    deployed_commit: CommitId | None = None
    release: ReleaseName | None = None
    head: CommitId | None = None
    head_seen_at: AwareDatetime | None = None
    healthy: bool | None = None
    checked_at: AwareDatetime | None = None
    drift: str | None = None
    pinned_commit: CommitId | None = None
    skipped_commit: CommitId | None = None
    quarantined: tuple[Quarantine, ...] = ()
    written: tuple[WrittenFiles, ...] = ()
    lag: Lag | None = None

    def after_thaw(self, *, is_frozen: bool) -> Self:
        """Return the status without the reason of a freeze that has ended. The next reconcile finds the new one."""
        if is_frozen or self.lag is None or self.lag.verdict is not Verdict.FROZEN:
            return self
        ended = {"verdict": Verdict.WAITING, "why": "the freeze has ended, no deployment since"}
        return self.model_copy(update={"lag": self.lag.model_copy(update=ended)})

    def to_json(self, freeze: Freeze | None) -> dict[str, Any]:
        """Return the fields of the status and the freeze in force for scripts."""
        frozen = freeze.model_dump(mode="json") if freeze else None
        return {**self.after_thaw(is_frozen=freeze is not None).model_dump(mode="json"), "frozen": frozen}


def read_status(connection: Redis, app: str) -> AppStatus:
    """Return the status of an app, or an empty one. Raises redis.exceptions.RedisError."""
    return read_statuses(connection, [app])[0]


def read_statuses(connection: Redis, apps: Sequence[str]) -> list[AppStatus]:
    """Return the status of each app in one round trip. Raises redis.exceptions.RedisError."""
    found: Any = connection.mget([redis_keys.app_status_key(app) for app in apps]) if apps else []
    return [_decode_status(app, raw) for app, raw in zip(apps, found, strict=True)]


def publish_status(connection: Redis, status: AppStatus) -> None:
    """Write the status of an app. Raises redis.exceptions.RedisError."""
    connection.set(redis_keys.app_status_key(status.app), status.model_dump_json())


def _decode_status(app: str, raw: Any) -> AppStatus:
    with suppress(ValidationError):
        if raw and (status := AppStatus.model_validate_json(raw)).app == app:
            return status
    return AppStatus(app=app)


def append_decision(connection: Redis | Pipeline, decision: Decision) -> None:
    """Append a decision to its app's stream, or a refusal to the one that only the operator may read.

    Raises redis.exceptions.RedisError.
    """
    is_refusal = decision.verdict is Verdict.REFUSED
    key = redis_keys.REFUSALS if is_refusal else redis_keys.decisions_key(decision.app or "-")
    fields = {"decision": decision.model_dump_json(exclude_none=True)}
    connection.xadd(key, fields, maxlen=MAX_ENTRIES, approximate=False)  # type: ignore[arg-type]


def read_decisions(connection: Redis, app: str, count: int) -> list[Decision]:
    """Return an app's last decisions, the newest first. Raises redis.exceptions.RedisError."""
    return _decode_decisions(connection.xrevrange(redis_keys.decisions_key(app), count=count))


def read_refusals(connection: Redis, count: int) -> list[Decision]:
    """Return the last refused signatures, the newest first. Raises redis.exceptions.RedisError."""
    return _decode_decisions(connection.xrevrange(redis_keys.REFUSALS, count=count))


def _decode_decisions(entries: Any) -> list[Decision]:
    """Return the valid entries, because any writer may have written the others."""
    found = []
    for _, fields in entries or ():
        try:
            raw = fields[b"decision"]
            if len(raw) <= MAX_RECORD_BYTES:
                found.append(Decision.model_validate_json(raw))
        except (KeyError, ValidationError):
            continue
    return found
