"""Which deployments live: their signs of life, and the honest ending of one whose process is gone."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ResponseError

from hookd.config import Config, ConfigError, config_path, load
from hookd.eventlog import event
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, IllegalTransition, Status, advance
from hookd.model.hint import Hint, HintKind
from hookd.model.ids import app_of, is_deployment
from hookd.model.journal import AppState, Built, Good, JournalEvent, Quarantined, Switched, fold
from hookd.model.settings import Settings
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import Contention, DeploymentStore
from worker.journal import Journal
from worker.process.lock import _PAUSE_SECONDS, lock_holder, try_lock
from worker.report.recorder import record_decision

log: Final = logging.getLogger(__name__)

LIVENESS_SUFFIX: Final = ".run"


def config_or_none(only: str = "") -> Config | None:
    """Read the configuration, with the file of one app at most; None as long as it cannot be used."""
    try:
        return load(config_path(), only=only)
    except ConfigError:
        return None


def records_on(connection: Redis, config: Config | None) -> DeploymentStore:
    """The records over a connection that is open already, whatever state the configuration is in."""
    settings = config.settings if config is not None else Settings()
    return DeploymentStore(connection, keep_seconds=settings.history_seconds)


def finish_crashed(connection: Redis, job_id: str, status: Status, cause: str) -> Deployment | None:
    """Give a deployment whose process is gone the ending that its app's journal proves, `status` where it proves none.

    Returns the record as it ended; None when there is nothing to end, since it has an ending or there is no record.
    """
    if not is_deployment(job_id):
        return None
    try:
        ended = records_on(connection, config_or_none()).change(job_id, lambda old: _finished(old, status, cause))
    except (IllegalTransition, NoSuchDeployment, Contention, ResponseError):
        return None
    event(log, "ended", app=ended.app, deployment=ended.id, status=ended.status, cause=ended.cause)
    record_decision(connection, ended, Verdict.ENDED, ended.cause or "", ending=ended.status)
    return ended


def _finished(old: Deployment, status: Status, cause: str) -> Deployment:
    proved = Outcome(status, cause)
    if old.status is Status.RUNNING:
        proved = infer_outcome(old, _events(old.app), status, cause)
    hint = None if proved.status is Status.SUCCEEDED else Hint(HintKind.DEPLOY)
    return advance(old, proved.status, datetime.now(UTC), cause=proved.cause, hint=hint)


def _events(app: str) -> list[JournalEvent]:
    """Read an app's journal, without its lock: lines are only added, and a torn one is left out."""
    config = config_or_none()
    if config is None:
        return []
    try:
        return Journal(config.settings.journal_path(app)).events()
    except OSError as error:
        event(log, "journal not read", logging.ERROR, app=app, why=str(error))
        return []


def liveness_path(settings: Settings, deployment_id: str) -> Path:
    """Where a deployment's process gives its sign of life."""
    return settings.lock_path(app_of(deployment_id)).with_name(f"{deployment_id}{LIVENESS_SUFFIX}")


@contextmanager
def liveness_lock(deployment_id: str) -> Iterator[None]:
    """Give a sign of life for as long as the block; where that cannot be written, the app's lock has to do."""
    config = config_or_none() if is_deployment(deployment_id) else None
    with ExitStack() as held:
        if config is not None:
            try:
                held.enter_context(hold_liveness_file(liveness_path(config.settings, deployment_id)))
            except OSError as error:
                event(log, "no sign of life", logging.WARNING, deployment=deployment_id, why=str(error))
        yield


def is_running(deployment_id: str) -> bool:
    """Tell whether another process of this host is still at it, however long it has said nothing.

    When the configuration cannot be read that cannot be told, and nothing is declared dead.
    """
    config = config_or_none()
    if config is None or is_held(liveness_path(config.settings, deployment_id)):
        return True
    return lock_holder(config.settings.lock_path(app_of(deployment_id))) == deployment_id


_TAKE_SECONDS: Final = 1.0


@contextmanager
def hold_liveness_file(path: Path) -> Iterator[None]:
    """Hold a deployment's own file for as long as the block; raises OSError.

    Unlike the app's lock, which is waited for, this is held from before the record says so until after its ending is
    recorded. Where another process of this deployment lives, the file stays its.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _open_and_lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _open_and_lock(path: Path) -> int | None:
    """Open and lock a file that has this name; whoever only looks at it holds it for a moment."""
    end = time.monotonic() + _TAKE_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= end:
            return None
        time.sleep(_PAUSE_SECONDS)


def is_held(path: Path) -> bool:
    """Tell whether another process than this one holds a deployment's file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor) and os.pread(descriptor, 20, 0) != str(os.getpid()).encode()
    finally:
        os.close(descriptor)


def remove_liveness_file(path: Path) -> None:
    """Remove the file of a deployment that is over, unless a process holds it."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if try_lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Outcome:
    """An ending, and its cause in one sentence."""

    status: Status
    cause: str


def infer_outcome(record: Deployment, events: Sequence[JournalEvent], status: Status, cause: str) -> Outcome:
    """Read from the journal how far a deployment came; `status` and `cause` hold where it proves nothing better.

    It succeeded when its own release was found well and is the one that serves, and was rolled back when its release
    was found bad and the one before serves again. Everything else is for the next deployment to settle.
    """
    own = [event for event in events if event.deployment == record.id]
    state = fold(events)
    release = _release(record, own)
    bad = next((event for event in own if isinstance(event, Quarantined) and event.served), None)
    if not state.verified:
        return Outcome(status, f"{cause}{_unverified_switch(state, own)}")
    if not _was_verified(state, own):
        return Outcome(status, cause)
    if bad is not None and state.current != release:
        back = f"the new release is bad, {state.current} serves again: {bad.cause} ({cause})"
        return Outcome(Status.ROLLED_BACK, back)
    if bad is None and release is not None and state.current == release:
        return Outcome(Status.SUCCEEDED, f"{cause}, after {release} was found well")
    return Outcome(status, cause)


def _release(record: Deployment, own: Sequence[JournalEvent]) -> str | None:
    """The release that the deployment was about: the one it built, or an earlier one that it went back to."""
    return next((event.release for event in reversed(own) if isinstance(event, Built)), record.release)


def _was_verified(state: AppState, own: Sequence[JournalEvent]) -> bool:
    """Tell whether this deployment itself found what serves to be well."""
    return any(isinstance(event, Good) and event.release == state.current for event in own)


def _unverified_switch(state: AppState, own: Sequence[JournalEvent]) -> str:
    if not any(isinstance(event, Switched) and event.release == state.current for event in own):
        return ""
    return f", after switching to {state.current} and before that was found well; the next deployment settles it"
