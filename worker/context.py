"""What a job works with: the configuration of its app, its records, and how a deployment whose process is gone ends."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from hookd.contract.catalogue import App
from hookd.contract.deployment import Deployment, IllegalTransition, Status, advance
from hookd.contract.journal import Event
from hookd.contract.names import app_of, is_deployment
from hookd.contract.places import Places
from hookd.contract.settings import Settings
from hookd.contract.view import with_state
from hookd.store.config import Config, ConfigError, config_path, load
from hookd.store.connection import PatientRedis, impatient
from hookd.store.credentials import redis_user
from hookd.store.eventlog import event
from hookd.store.records import Contention, NoSuchDeployment, Records
from worker.aftermath import Proved, ending_of
from worker.errors import DeployError
from worker.journal import Journal
from worker.lock import gives_sign_of_life, holder, sign_of_life
from worker.pipeline import Seen

log: Final = logging.getLogger(__name__)

LIFE_SUFFIX: Final = ".run"


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


def app_environment(app: App) -> dict[str, str]:
    """Read the app's own variables; raises DeployError when their file cannot be read."""
    file = app.build.environment_file
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            found: Mapping[str, str | None] = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"the app's variables in {file} cannot be read: {error}") from None
    return {name: value for name, value in found.items() if value is not None}


def publish(context: Context, app: str, seen: Seen) -> None:
    """Show readers what is known of the app now; a Redis that is away is no reason to stop."""
    with suppress(RedisError):
        changes: dict[str, object] = {}
        if seen.head is not None:
            changes |= {"head": seen.head, "head_seen_at": seen.head_seen_at}
        if seen.healthy is not None:
            changes |= {"healthy": seen.healthy, "checked_at": datetime.now(UTC)}
        view = context.impatient.view(app).model_copy(update=changes)
        context.impatient.publish(with_state(view, seen.state))


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


def records_on(connection: Redis) -> Records:
    """The records over a connection that is open already, whatever state the configuration is in."""
    settings = _settings()
    return Records(connection, keep_seconds=(settings or Settings()).history_seconds)


def end_dead(connection: Redis, job_id: str, status: Status, cause: str) -> Deployment | None:
    """Give a deployment whose process is gone the ending that its app's journal proves, `status` where it proves none.

    Returns the record as it ended; None when there is nothing to end, since it has an ending or there is no record.
    """
    if not is_deployment(job_id):
        return None
    try:
        ended = records_on(connection).change(job_id, lambda old: _ended(old, status, cause))
    except (IllegalTransition, NoSuchDeployment, Contention, ResponseError):
        return None
    event(log, "ended", app=ended.app, deployment=ended.id, status=ended.status, cause=ended.cause)
    return ended


def _ended(old: Deployment, status: Status, cause: str) -> Deployment:
    proved = Proved(status, cause)
    if old.status is Status.RUNNING:
        proved = ending_of(old, _events(old.app), status, cause)
    hint = None if proved.status is Status.SUCCEEDED else f"hookd deploy {old.app}"
    return advance(old, proved.status, datetime.now(UTC), cause=proved.cause, hint=hint)


def _events(app: str) -> list[Event]:
    """Read an app's journal, without its lock: lines are only added, and a torn one is left out."""
    settings = _settings()
    if settings is None:
        return []
    try:
        return Journal(Places(settings.state, settings, app).journal).events()
    except OSError as error:
        event(log, "journal not read", logging.ERROR, app=app, why=str(error))
        return []


def life_path(settings: Settings, deployment_id: str) -> Path:
    """Where a deployment's process gives its sign of life."""
    return settings.lock_path(app_of(deployment_id)).with_name(f"{deployment_id}{LIFE_SUFFIX}")


@contextmanager
def alive(deployment_id: str) -> Iterator[None]:
    """Give a sign of life for as long as the block; where that cannot be written, the app's lock has to do."""
    settings = _settings() if is_deployment(deployment_id) else None
    with ExitStack() as held:
        if settings is not None:
            try:
                held.enter_context(sign_of_life(life_path(settings, deployment_id)))
            except OSError as error:
                event(log, "no sign of life", logging.WARNING, deployment=deployment_id, why=str(error))
        yield


def still_runs(deployment_id: str) -> bool:
    """Tell whether another process of this host is still at it, however long it has said nothing.

    When the configuration cannot be read that cannot be told, and nothing is declared dead.
    """
    settings = _settings()
    if settings is None or gives_sign_of_life(life_path(settings, deployment_id)):
        return True
    return holder(settings.lock_path(app_of(deployment_id))) == deployment_id


def _settings() -> Settings | None:
    try:
        return load(config_path(), only="").settings
    except ConfigError:
        return None
