"""Which deployments live: their signs of life, and the honest ending of one whose process is gone."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ResponseError

from hookd.contract.decision import Verdict
from hookd.contract.deployment import Deployment, IllegalTransition, Status, advance
from hookd.contract.journal import Event
from hookd.contract.names import app_of, is_deployment
from hookd.contract.settings import Settings
from hookd.store.config import Config, ConfigError, config_path, load
from hookd.store.eventlog import event
from hookd.store.records import Contention, NoSuchDeployment, Records
from worker.aftermath import Proved, ending_of
from worker.journal import Journal
from worker.lock import gives_sign_of_life, holder, sign_of_life
from worker.recorder import keep_decision

log: Final = logging.getLogger(__name__)

LIFE_SUFFIX: Final = ".run"


def readable(only: str = "") -> Config | None:
    """Read the configuration, with the file of one app at most; None as long as it cannot be used."""
    try:
        return load(config_path(), only=only)
    except ConfigError:
        return None


def records_on(connection: Redis, config: Config | None) -> Records:
    """The records over a connection that is open already, whatever state the configuration is in."""
    settings = config.settings if config is not None else Settings()
    return Records(connection, keep_seconds=settings.history_seconds)


def end_dead(connection: Redis, job_id: str, status: Status, cause: str) -> Deployment | None:
    """Give a deployment whose process is gone the ending that its app's journal proves, `status` where it proves none.

    Returns the record as it ended; None when there is nothing to end, since it has an ending or there is no record.
    """
    if not is_deployment(job_id):
        return None
    try:
        ended = records_on(connection, readable()).change(job_id, lambda old: _ended(old, status, cause))
    except (IllegalTransition, NoSuchDeployment, Contention, ResponseError):
        return None
    event(log, "ended", app=ended.app, deployment=ended.id, status=ended.status, cause=ended.cause)
    keep_decision(connection, ended, Verdict.ENDED, f"{ended.status}: {ended.cause}")
    return ended


def _ended(old: Deployment, status: Status, cause: str) -> Deployment:
    proved = Proved(status, cause)
    if old.status is Status.RUNNING:
        proved = ending_of(old, _events(old.app), status, cause)
    hint = None if proved.status is Status.SUCCEEDED else f"hookd deploy {old.app}"
    return advance(old, proved.status, datetime.now(UTC), cause=proved.cause, hint=hint)


def _events(app: str) -> list[Event]:
    """Read an app's journal, without its lock: lines are only added, and a torn one is left out."""
    config = readable()
    if config is None:
        return []
    try:
        return Journal(config.settings.journal_path(app)).events()
    except OSError as error:
        event(log, "journal not read", logging.ERROR, app=app, why=str(error))
        return []


def life_path(settings: Settings, deployment_id: str) -> Path:
    """Where a deployment's process gives its sign of life."""
    return settings.lock_path(app_of(deployment_id)).with_name(f"{deployment_id}{LIFE_SUFFIX}")


@contextmanager
def alive(deployment_id: str) -> Iterator[None]:
    """Give a sign of life for as long as the block; where that cannot be written, the app's lock has to do."""
    config = readable() if is_deployment(deployment_id) else None
    with ExitStack() as held:
        if config is not None:
            try:
                held.enter_context(sign_of_life(life_path(config.settings, deployment_id)))
            except OSError as error:
                event(log, "no sign of life", logging.WARNING, deployment=deployment_id, why=str(error))
        yield


def still_runs(deployment_id: str) -> bool:
    """Tell whether another process of this host is still at it, however long it has said nothing.

    When the configuration cannot be read that cannot be told, and nothing is declared dead.
    """
    config = readable()
    if config is None or gives_sign_of_life(life_path(config.settings, deployment_id)):
        return True
    return holder(config.settings.lock_path(app_of(deployment_id))) == deployment_id
