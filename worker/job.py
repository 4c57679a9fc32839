"""One job: reads the deployment's record, runs the pipeline, and sees to it that exactly one ending is recorded.

The two functions here are all that the queue can call.
"""

import logging
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from redis import Redis
from redis.exceptions import RedisError
from rq import get_current_job
from rq.timeouts import JobTimeoutException

from hookd.contract.catalogue import App
from hookd.contract.deployment import UNDONE, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.contract.settings import Settings
from hookd.contract.view import with_state
from hookd.store.config import Config, ConfigError, config_path, load
from hookd.store.connection import PatientRedis, impatient
from hookd.store.records import Contention, NoSuchDeployment, Records, Request
from worker.errors import DeployError, DeploymentFailed
from worker.journal import Journal
from worker.lock import is_held
from worker.logfile import LogFile
from worker.masks import Masks
from worker.pipeline import Ending, Seen
from worker.pipeline import deploy as run_pipeline
from worker.recorder import Recorder
from worker.task import Places, Task, passed_on

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """What a job works with: the configuration, and the records twice.

    `patient` waits for a Redis that restarts, for what must be recorded; `brisk` does not, for what is only progress.
    """

    config: Config
    patient: Records
    brisk: Records


def open_desk() -> Desk:
    """Read the configuration anew, so that a change of the catalogue needs no restart of the worker."""
    config = load(config_path())
    keep, url = config.settings.history_seconds, config.settings.redis.url
    return Desk(
        config, Records(PatientRedis.from_url(url), keep_seconds=keep), Records(impatient(url), keep_seconds=keep)
    )


def deploy(deployment_id: str) -> dict[str, str]:
    """Run the deployment of this id; what the queue calls.

    A record that has ended is not run again: `rq requeue` of a failed one becomes a new record and a new job.
    Raises DeploymentFailed, after the ending is recorded, so that RQ lists the job among the failed ones.
    """
    desk = _desk_or_failure(deployment_id)
    record = _record(desk, deployment_id)
    if record.status is Status.SUPERSEDED:
        return {"status": record.status, "superseded_by": record.superseded_by or ""}
    if record.status is Status.RUNNING:
        return _left_running(desk, record)
    if record.ended:
        return _replay(desk, record)
    return _deploy(desk, record)


def replay(deployment_id: str) -> dict[str, str]:
    """Ask again for what a stored deployment asked for, however it ended; a new record and a new job."""
    desk = open_desk()
    return _replay(desk, _record(desk, deployment_id))


def _record(desk: Desk, deployment_id: str) -> Deployment:
    try:
        return desk.patient.get(deployment_id)
    except NoSuchDeployment:
        raise DeploymentFailed(f"there is no record of the deployment {deployment_id}") from None


def _desk_or_failure(deployment_id: str) -> Desk:
    """Open the desk; a configuration that was broken since the worker's start ends the deployment, not the queue."""
    try:
        return open_desk()
    except ConfigError as error:
        cause = f"the configuration cannot be used: {error.problems[0]}"
        running = get_current_job()
        if running is not None:
            mark_dead(records_on(running.connection), deployment_id, Status.FAILED, cause)
        raise DeploymentFailed(cause) from None


def _replay(desk: Desk, record: Deployment) -> dict[str, str]:
    app = desk.config.catalogue.get(record.app)
    if app is None:
        raise DeploymentFailed(f"the app {record.app} is not in the catalogue any more")
    answer = desk.patient.request(
        Request(
            app=record.app,
            trigger=Trigger.ROLLBACK if record.trigger is Trigger.ROLLBACK else Trigger.REPLAY,
            seconds=app.limits.deploy_seconds,
            claimed_commit=record.claimed_commit,
            pinned_commit=record.pinned_commit,
            replay_of=record.id,
        )
    )
    log.info("deployment=%s is replayed as %s", record.id, answer.deployment)
    return {"status": "replayed", "deployment": answer.deployment}


def _left_running(desk: Desk, record: Deployment) -> dict[str, str]:
    """Deal with a record that another process was running: it still does, or it has died."""
    if is_held(_places(desk.config.settings, record.app).lock):
        return {"status": record.status, "deployment": record.id}
    desk.patient.change(
        record.id, lambda old: advance(old, Status.FAILED, _now(), cause="the worker died while it ran")
    )
    return _replay(desk, record)


def _deploy(desk: Desk, record: Deployment) -> dict[str, str]:
    try:
        record = desk.patient.change(record.id, lambda old: advance(old, Status.RUNNING, _now()))
    except IllegalTransition:  # Superseded since it was read, a moment ago.
        return {"status": desk.patient.get(record.id).status, "deployment": record.id}
    log.info("deployment=%s app=%s started", record.id, record.app)
    ending = _outcome(desk, record)
    signal.alarm(0)  # RQ's alarm must not ring now: the ending is recorded, however late it is.
    desk.patient.change(
        record.id,
        lambda old: advance(old, ending.status, _now(), cause=ending.cause, hint=ending.hint),
    )
    log.info("deployment=%s app=%s ended %s: %s", record.id, record.app, ending.status, ending.cause or "")
    _tidy(desk, record.app)
    if ending.status in UNDONE:
        raise DeploymentFailed(f"{record.id} ended {ending.status}: {ending.cause}")
    return {"status": ending.status, "deployment": record.id}


def _outcome(desk: Desk, record: Deployment) -> Ending:
    """Run the pipeline and turn whatever happens into one ending; the one place that catches the unexpected."""
    app = desk.config.catalogue.get(record.app)
    if app is None:
        return Ending(Status.FAILED, f"the app {record.app} is not in the catalogue any more")
    try:
        environment = _app_environment(app)
    except DeployError as error:
        return Ending(error.ending, error.cause, error.hint)
    logfile = LogFile(desk.config.settings.log_path(app.name, record.id), _masks(app, environment))
    with logfile:
        recorder = Recorder(record, desk.brisk, logfile)
        ending = _ending_of(desk, app, recorder, environment)
        recorder.line(f"{ending.status}: {ending.cause or app.name + ' serves the new release'}")
        if ending.hint:
            recorder.line(f"next: {ending.hint}")
        return ending


def _masks(app: App, environment: Mapping[str, str]) -> Masks:
    """Know every place where a credential may come from."""
    return Masks({**passed_on(), **app.dependencies.environment, **app.build.environment, **environment})


def _ending_of(desk: Desk, app: App, recorder: Recorder, environment: Mapping[str, str]) -> Ending:
    try:
        places = _places(desk.config.settings, app.name, app.root)
        task = Task(app, desk.config.settings, places, Journal(places.journal), recorder, environment)
        return run_pipeline(task, lambda seen: _publish(desk, app.name, seen))
    except DeployError as error:
        return Ending(error.ending, recorder.clean(error.cause), error.hint)
    except JobTimeoutException:
        return Ending(Status.FAILED, f"the deployment took longer than {app.limits.deploy_seconds} s")
    except OSError as error:
        log.exception("deployment=%s", recorder.deployment.id)
        return Ending(Status.FAILED, f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        log.exception("deployment=%s hookd failed", recorder.deployment.id)
        return Ending(Status.FAILED, f"hookd itself failed ({type(error).__name__}); the worker's log says where")


def _app_environment(app: App) -> dict[str, str]:
    """Read the app's own variables; raises DeployError when their file cannot be read."""
    file = app.build.environment_file
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            found = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"the app's variables in {file} cannot be read: {error}") from None
    return {name: value for name, value in found.items() if value is not None}


def _places(settings: Settings, app: str, root: Path = Path("/nonexistent")) -> Places:
    return Places(root=root, state=settings.state, app=app)


def _publish(desk: Desk, app: str, seen: Seen) -> None:
    """Show readers what is known of the app now; a Redis that is away is no reason to stop."""
    with suppress(RedisError):
        changes: dict[str, object] = {}
        if seen.head is not None:
            changes |= {"head": seen.head, "head_seen_at": seen.head_seen_at}
        if seen.healthy is not None:
            changes |= {"healthy": seen.healthy, "checked_at": _now()}
        desk.brisk.publish(with_state(desk.brisk.view(app).model_copy(update=changes), seen.state))


def _tidy(desk: Desk, app: str) -> None:
    """Forget old records and their logs, after the ending is recorded: this cannot fail a deployment."""
    history = desk.config.settings.history
    before = _now() - timedelta(days=history.days)
    try:
        for gone in desk.brisk.forget_old(app, keep=history.keep, before=before):
            desk.config.settings.log_path(app, gone).unlink(missing_ok=True)
    except (RedisError, OSError) as error:
        log.warning("app=%s old records stay: %s", app, error)


def records_on(connection: Redis) -> Records:
    """The records over a connection that is open already, whatever state the configuration is in."""
    try:
        keep = load(config_path()).settings.history_seconds
    except ConfigError:
        keep = Settings().history_seconds
    return Records(connection, keep_seconds=keep)


def mark_dead(records: Records, deployment_id: str, status: Status, cause: str) -> None:
    """Give a deployment whose process is gone its ending; one that has an ending keeps it."""
    with suppress(IllegalTransition, NoSuchDeployment, Contention):
        records.change(deployment_id, lambda old: advance(old, status, _now(), cause=cause))


def _now() -> datetime:
    return datetime.now(UTC)


def clean_process_environment() -> None:
    """Drop variables that would steer git; GitPython passes on the whole environment of the worker."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
