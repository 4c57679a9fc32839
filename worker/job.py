"""One job: read the deployment's record, run the pipeline, and record exactly one ending.

The queue can call the two public functions `deploy` and `replay`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from rq import get_current_job

from hookd import freezes
from hookd.config import Config, ConfigError, config_path, configured_at, load
from hookd.credentials import redis_user
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.model.hint import Hint, HintKind, render_hint, stored_hint
from hookd.model.ids import app_of
from hookd.model.settings import Settings
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import receiver_client, worker_client
from hookd.queue.deployments import DeploymentRequest, DeploymentStore, NoSuchDeployment
from worker.context import Task
from worker.deploy.pipeline import Ending, run_pipeline
from worker.deploy.retention import prune_history
from worker.errors import DeployError, DeploymentFailed
from worker.phase.environment import host_variables
from worker.process.lock import is_running
from worker.recovery.crashed import WORKER_DIED, finish_crashed
from worker.release.git import commits_behind, git_variables
from worker.report.log import LogFile, Recorder, Redaction
from worker.report.status import LagReason, StatusPublisher, decision_about, publishing, reason_for_lag
from worker.variables import build_variables, service_variables, shared_variables

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobContext:
    """The configuration and the deployments: `store` waits for a Redis that restarts, `impatient_store` does not."""

    config: Config
    store: DeploymentStore
    impatient_store: DeploymentStore
    status: StatusPublisher


def deploy(deployment_id: str) -> dict[str, str]:
    """Run a deployment. Raises DeploymentFailed after a failed ending is recorded, so that RQ's job fails too.

    `rq requeue` of an ended deployment becomes a replay: a new record and a new job.
    """
    context, record = _open(deployment_id)
    if record.status is Status.SUPERSEDED:
        return {"status": record.status, "superseded_by": record.superseded_by or ""}
    if record.status is Status.RUNNING:
        if is_running(record.id):
            return {"status": record.status, "deployment": record.id}
        finish_crashed(context.store.connection, record.id, Status.FAILED, WORKER_DIED)
    elif not record.ended:
        return _deploy(context, record)
    return _replay(context, record)


def replay(deployment_id: str) -> dict[str, str]:
    """Request again the target of a stored deployment, with a new record and a new job."""
    return _replay(*_open(deployment_id))


def _open(deployment_id: str) -> tuple[JobContext, Deployment]:
    """Read the record, and the configuration anew, with this app's file alone."""
    try:
        config = load(config_path(), only=app_of(deployment_id))
        require_owner(config)
        user = redis_user(config, "worker")
    except WrongUser as error:  # A plain `rq worker` of root's.
        raise DeploymentFailed(error.cause) from None
    except ConfigError as error:
        running = get_current_job()
        if running is not None:
            finish_crashed(running.connection, deployment_id, Status.FAILED, error.cause)
        raise DeploymentFailed(error.cause) from None
    keep, url = config.settings.history_seconds, config.settings.redis.url
    store = DeploymentStore(worker_client(url, user), keep_seconds=keep)
    impatient = receiver_client(url, user)
    context = JobContext(config, store, DeploymentStore(impatient, keep_seconds=keep), StatusPublisher(impatient))
    try:
        return context, store.get(deployment_id)
    except NoSuchDeployment:
        raise DeploymentFailed(f"there is no record of the deployment {deployment_id}") from None


def _replay(context: JobContext, record: Deployment) -> dict[str, str]:
    app = context.config.catalogue.get(record.app)
    if app is None:
        raise DeploymentFailed(_missing_app(record.app))
    answer = context.store.request(
        DeploymentRequest(
            app=record.app,
            trigger=Trigger.REPLAY,
            seconds=app.job_seconds,
            claimed_commit=record.claimed_commit,
            pinned_commit=record.commit if record.trigger is Trigger.ROLLBACK else record.pinned_commit,
            replay_of=record.id,
        )
    )
    event(log, "replayed", deployment=record.id, replay=answer.deployment)
    return {"status": "replayed", "deployment": answer.deployment}


def _deploy(context: JobContext, record: Deployment) -> dict[str, str]:
    try:
        record = context.store.change(record.id, lambda old: advance(old, Status.RUNNING, datetime.now(UTC)))
    except IllegalTransition:  # Superseded since it was read, a moment ago.
        return {"status": context.store.get(record.id).status, "deployment": record.id}
    event(log, "started", app=record.app, deployment=record.id, trigger=record.trigger)
    ending = _run(context, record)
    Task.cancel_timeout()  # A late ending must be recorded too.
    changes = {"cause": ending.cause, "hint": stored_hint(ending.hint)}
    context.store.change(record.id, lambda old: advance(old, ending.status, datetime.now(UTC), **changes))
    event(log, "ended", app=record.app, deployment=record.id, status=ending.status, cause=ending.cause)
    prune_history(context.impatient_store, context.config.settings, record.app)
    if ending.status in RETRYABLE_ENDINGS:
        raise DeploymentFailed(f"{record.id} ended {ending.status}: {ending.cause}")
    return {"status": ending.status, "deployment": record.id}


def _run(context: JobContext, record: Deployment) -> Ending:
    """Open the log, run the pipeline and return the ending."""
    app, settings = context.config.catalogue.get(record.app), context.config.settings
    try:
        if app is None:
            raise DeployError(_missing_app(record.app), hint=Hint(HintKind.SHOW_STATUS))
        configured, build, service = configured_at(context.config, app), build_variables(app), service_variables(app)
        log_file = _open_log(settings, app, record.id, build, service)
    except DeployError as error:
        ending = Ending.of(error)
        context.status.note(_decision(record, ending))
        return ending
    with log_file:
        task = Task(
            app=app,
            settings=settings,
            recorder=Recorder(record, context.impatient_store, log_file),
            build_variables=build,
            service_variables=service,
            freeze_directory=context.config.freeze_directory,
            configured_at=configured,
        )
        try:
            ending = run_pipeline(task, context.status)
        except Exception as error:  # The one place that turns an unexpected error into an ending.
            event(log, "hookd failed", logging.ERROR, trace=True, deployment=record.id)
            cause = f"hookd itself failed ({type(error).__name__}); the worker's log says where"
            ending = Ending(Status.FAILED, cause, Hint(HintKind.SHOW_WORKER_LOG))
        return _finish(task, context.status, ending)


def _finish(task: Task, publisher: StatusPublisher, ending: Ending) -> Ending:
    """Log and publish an ending, and return it without the credentials in its cause."""
    app, recorder = task.app, task.recorder
    cause = recorder.clean(ending.cause) if ending.cause else None
    ending = replace(ending, cause=cause, hint=task.own_hint(ending.hint))
    if ending.head is not None:
        with publishing(app.name):
            _publish_lag(task, publisher, ending.head, ending)
    recorder.line(f"{ending.status}: {ending.cause or app.name + ' serves the new release'}")
    publisher.note(_decision(task.deployment, ending, app.ref))
    if ending.hint and ending.hint != Hint(HintKind.SHOW_LOG):  # This is the log.
        recorder.line(f"next: {render_hint(ending.hint, app.name, recorder.deployment_id)}")
    return ending


def _missing_app(app: str) -> str:
    return f"the app {app} is not in the catalogue any more"


def _open_log(settings: Settings, app: App, deployment_id: str, *variables: Mapping[str, str]) -> LogFile:
    host = {**host_variables(), **git_variables()}
    redaction = Redaction(host, app.dependencies.environment, *variables, *shared_variables(app))
    try:
        return LogFile(settings.log_path(app.name, deployment_id), redaction, shared=settings.logs is not None)
    except OSError as error:
        raise DeployError(f"the log cannot be written: {error}", hint=Hint(HintKind.RUN_DOCTOR)) from None


def _decision(record: Deployment, ending: Ending, ref: str | None = None) -> Decision:
    why = ending.cause or f"{(record.commit or '')[:12]} serves"
    status = ending.status if ending.verdict is Verdict.ENDED else None
    return decision_about(record, ending.verdict, why, ending=status, ref=ref, head=ending.head)


def _publish_lag(task: Task, publisher: StatusPublisher, head: str, ending: Ending) -> None:
    """Publish whether the app serves its head now, and otherwise the reason."""
    state = task.journal.state()
    freeze = freezes.active_freeze(task.freeze_directory, task.app.name, datetime.now(UTC))
    result = f"failed: {ending.cause}" if ending.cause else ""
    commits = commits_behind(task.app, task.settings, state, head)
    reason = LagReason(reason_for_lag(state, head, result, freeze, task.configured_at), commits)
    publisher.publish_lag(task.app.name, state, head, reason)
