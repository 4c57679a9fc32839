"""What a job works with: the configuration of its app and its records, and what it leaves for readers."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.exceptions import RedisError

from hookd.contract.catalogue import App
from hookd.contract.decision import Ruling, Verdict
from hookd.contract.deployment import Trigger
from hookd.contract.names import app_of
from hookd.contract.ruling import why_not
from hookd.contract.settings import Settings
from hookd.contract.view import with_state
from hookd.store import freezes
from hookd.store.config import Config, config_path, load
from hookd.store.connection import PatientRedis, impatient
from hookd.store.credentials import redis_user
from hookd.store.eventlog import event
from hookd.store.records import Records
from worker.behind import behind, how_far, missed
from worker.journal import Journal
from worker.pipeline import Seen

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """The configuration, and the records twice.

    `patient` waits for a Redis that restarts, for what must be recorded; `impatient` does not, for what is only
    progress.
    """

    config: Config
    patient: Records
    impatient: Records

    def app(self, name: str) -> App | None:
        """Find the app of this job in the catalogue."""
        return self.config.catalogue.get(name)


def open_context(deployment_id: str) -> Context:
    """Read the configuration anew, so that a change of the catalogue needs no restart of the worker.

    Only the app of the deployment is read: what is wrong with another app's file holds nobody else up.
    Raises ConfigError.
    """
    config = load(config_path(), only=app_of(deployment_id))
    keep, url = config.settings.history_seconds, config.settings.redis.url
    user = redis_user(config, "worker")
    patient = Records(PatientRedis.from_url(url, credential_provider=user), keep_seconds=keep)
    return Context(config, patient, Records(impatient(url, user), keep_seconds=keep))


def publish(context: Context, app: str, seen: Seen) -> None:
    """Show readers what is known of the app now; a Redis that is away is no reason to stop."""
    with suppress(RedisError):
        changes: dict[str, object] = {}
        if seen.head is not None:
            changes |= {"head": seen.head, "head_seen_at": seen.head_seen_at}
        if seen.healthy is not None:
            changes |= {"healthy": seen.healthy, "checked_at": datetime.now(UTC)}
        if seen.healthy:
            changes["trouble"] = None
        view = context.impatient.view(app).model_copy(update=changes)
        context.impatient.publish(with_state(view, seen.state, head_seen=seen.head is not None))


def publish_standing(context: Context, app: App, head: str, cause: str | None) -> None:
    """Show readers, now that a deployment has ended, whether the app serves its head, and why not.

    `cause` is why the deployment ended as it did.
    """
    settings, now = context.config.settings, datetime.now(UTC)
    state = Journal(settings.journal_path(app.name)).state()
    freeze = freezes.in_force(context.config.frozen, app.name, now)
    ruling = why_not(state, head, Trigger.RECONCILE, freeze)
    if ruling is None:
        ruling = Ruling(verdict=Verdict.WAITING, why=missed(state, head, f"failed: {cause}" if cause else ""))
    commits = how_far(app, settings, state, head)
    with suppress(RedisError):
        view = context.impatient.view(app.name)
        late = behind(state, head, ruling, view, now, commits=commits)
        context.impatient.publish(view.model_copy(update={"behind": late}))


def tidy(context: Context, app: str) -> None:
    """Forget old records and logs, after the ending is recorded: this cannot fail a deployment."""
    history = context.config.settings.history
    before = datetime.now(UTC) - timedelta(days=history.days)
    try:
        context.impatient.forget_old(app, keep=history.keep, before=before)
        _remove_logs(context.config.settings, app, before)
    except (RedisError, OSError) as error:
        event(log, "old records stay", logging.WARNING, app=app, why=str(error))


def _remove_logs(settings: Settings, app: str, before: datetime) -> None:
    """Keep the newest logs; their names sort by time, so they go also when Redis has lost its records."""
    logs = sorted(settings.log_directory(app).glob("*.log"), reverse=True)
    for number, path in enumerate(logs):
        if number >= settings.history.keep or path.stat().st_mtime < before.timestamp():
            path.unlink()
