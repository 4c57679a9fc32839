"""One job: reads the deployment's record, runs the pipeline, and sees to it that exactly one ending is recorded.

The two functions without an underscore are all that the queue can call.
"""

import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.exceptions import RedisError
from rq import get_current_job

from hookd import freezes
from hookd.config import Config, ConfigError, config_path, load
from hookd.credentials import redis_user
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.app_status import compute_lag, with_journal_state
from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.model.eligibility import block_reason
from hookd.model.hint import Hint, HintKind, render_hint, stored_hint
from hookd.model.ids import app_of
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from hookd.queue.app_status import AppStatusStore
from hookd.queue.client import RetryingRedis, receiver_client
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from worker.context import Task, app_environment, host_variables, shared_variables
from worker.deploy.pipeline import Ending, StatusUpdate
from worker.deploy.pipeline import deploy as run_pipeline
from worker.errors import DeployError, DeploymentFailed
from worker.journal import Journal
from worker.reconcile.lag import commits_behind, lag_reason
from worker.recovery.liveness import finish_crashed, is_running
from worker.report.log_file import LogFile
from worker.report.recorder import Recorder, record_decision
from worker.report.redaction import Redaction

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobContext:
    """The configuration, and the records twice.

    `patient` waits for a Redis that restarts, for what must be recorded; `impatient` does not, for what is only
    progress.
    """

    config: Config
    patient: DeploymentStore
    impatient: DeploymentStore

    def app(self, name: str) -> App | None:
        """Find the app of this job in the catalogue."""
        return self.config.catalogue.get(name)


def open_context(deployment_id: str) -> JobContext:
    """Read the configuration anew, so that a change of the catalogue needs no restart of the worker.

    Only the app of the deployment is read: what is wrong with another app's file holds nobody else up.
    Raises ConfigError.
    """
    config = load(config_path(), only=app_of(deployment_id))
    keep, url = config.settings.history_seconds, config.settings.redis.url
    user = redis_user(config, "worker")
    patient = DeploymentStore(RetryingRedis.from_url(url, credential_provider=user), keep_seconds=keep)
    return JobContext(config, patient, DeploymentStore(receiver_client(url, user), keep_seconds=keep))


def publish(context: JobContext, app: str, seen: StatusUpdate) -> None:
    """Show readers what is known of the app now; a Redis that is away is no reason to stop."""
    with suppress(RedisError):
        changes: dict[str, object] = {}
        if seen.head is not None:
            changes |= {"head": seen.head, "head_seen_at": seen.head_seen_at}
        if seen.healthy is not None:
            changes |= {"healthy": seen.healthy, "checked_at": datetime.now(UTC)}
        if seen.healthy:
            changes["drift"] = None
        view = AppStatusStore(context.impatient.connection).read(app).model_copy(update=changes)
        AppStatusStore(context.impatient.connection).publish(
            with_journal_state(view, seen.state, head_seen=seen.head is not None)
        )


def publish_standing(context: JobContext, app: App, head: str, cause: str | None) -> None:
    """Show readers, now that a deployment has ended, whether the app serves its head, and why not.

    `cause` is why the deployment ended as it did.
    """
    settings, now = context.config.settings, datetime.now(UTC)
    state = Journal(settings.journal_path(app.name)).state()
    freeze = freezes.active_freeze(context.config.frozen, app.name, now)
    ruling = block_reason(state, head, Trigger.RECONCILE, freeze)
    if ruling is None:
        ruling = Assessment(verdict=Verdict.WAITING, why=lag_reason(state, head, f"failed: {cause}" if cause else ""))
    commits = commits_behind(app, settings, state, head)
    with suppress(RedisError):
        store = AppStatusStore(context.impatient.connection)
        view = store.read(app.name)
        late = compute_lag(state, head, ruling, view, now, commits=commits)
        store.publish(view.model_copy(update={"lag": late}))


def remove_old_history(context: JobContext, app: str) -> None:
    """Forget old records and logs, after the ending is recorded: this cannot fail a deployment."""
    history = context.config.settings.history
    before = datetime.now(UTC) - timedelta(days=history.days)
    try:
        context.impatient.delete_old(app, keep=history.keep, before=before)
        _remove_logs(context.config.settings, app, before)
    except (RedisError, OSError) as error:
        event(log, "old records stay", logging.WARNING, app=app, why=str(error))


def _remove_logs(settings: Settings, app: str, before: datetime) -> None:
    """Keep the newest logs; their names sort by time, so they go also when Redis has lost its records."""
    logs = sorted(settings.log_directory(app).glob("*.log"), reverse=True)
    for number, path in enumerate(logs):
        if number >= settings.history.keep or path.stat().st_mtime < before.timestamp():
            path.unlink()


def deploy(deployment_id: str) -> dict[str, str]:
    """Run the deployment of this id; what the queue calls.

    A record that has ended is not run again: `rq requeue` of a failed one becomes a new record and a new job.
    Raises DeploymentFailed, after the ending is recorded, so that RQ lists the job among the failed ones.
    """
    context = _open(deployment_id)
    record = _record(context, deployment_id)
    if record.status is Status.SUPERSEDED:
        return {"status": record.status, "superseded_by": record.superseded_by or ""}
    if record.status is Status.RUNNING:
        return _left_running(context, record)
    if record.ended:
        return _replay(context, record)
    return _deploy(context, record)


def replay(deployment_id: str) -> dict[str, str]:
    """Ask again for what a stored deployment asked for, however it ended; a new record and a new job."""
    context = _open(deployment_id)
    return _replay(context, _record(context, deployment_id))


def _open(deployment_id: str) -> JobContext:
    """Read the configuration; one that was broken since the worker's start ends the deployment, not the queue."""
    try:
        return open_context(deployment_id)
    except ConfigError as error:
        cause = f"the configuration cannot be used: {error.problems[0]}"
        running = get_current_job()
        if running is not None:
            finish_crashed(running.connection, deployment_id, Status.FAILED, cause)
        raise DeploymentFailed(cause) from None


def _record(context: JobContext, deployment_id: str) -> Deployment:
    try:
        return context.patient.get(deployment_id)
    except NoSuchDeployment:
        raise DeploymentFailed(f"there is no record of the deployment {deployment_id}") from None


def _replay(context: JobContext, record: Deployment) -> dict[str, str]:
    app = context.app(record.app)
    if app is None:
        raise DeploymentFailed(f"the app {record.app} is not in the catalogue any more")
    answer = context.patient.request(
        DeploymentRequest(
            app=record.app,
            trigger=Trigger.REPLAY,
            seconds=app.limits.deploy_seconds,
            claimed_commit=record.claimed_commit,
            pinned_commit=record.commit if record.trigger is Trigger.ROLLBACK else record.pinned_commit,
            replay_of=record.id,
        )
    )
    event(log, "replayed", deployment=record.id, replay=answer.deployment)
    return {"status": "replayed", "deployment": answer.deployment}


def _left_running(context: JobContext, record: Deployment) -> dict[str, str]:
    """Deal with a record that another process was running: it still does, or it has died."""
    if is_running(record.id):
        return {"status": record.status, "deployment": record.id}
    finish_crashed(context.patient.connection, record.id, Status.FAILED, "the worker died while it ran")
    return _replay(context, record)


def _deploy(context: JobContext, record: Deployment) -> dict[str, str]:
    try:
        record = context.patient.change(record.id, lambda old: advance(old, Status.RUNNING, _now()))
    except IllegalTransition:  # Superseded since it was read, a moment ago.
        return {"status": context.patient.get(record.id).status, "deployment": record.id}
    event(log, "started", app=record.app, deployment=record.id, trigger=record.trigger)
    ending = _outcome(context, record)
    signal.alarm(0)  # RQ's alarm must not ring now: the ending is recorded, however late it is.
    context.patient.change(
        record.id, lambda old: advance(old, ending.status, _now(), cause=ending.cause, hint=stored_hint(ending.hint))
    )
    event(log, "ended", app=record.app, deployment=record.id, status=ending.status, cause=ending.cause)
    remove_old_history(context, record.app)
    if ending.status in RETRYABLE_ENDINGS:
        raise DeploymentFailed(f"{record.id} ended {ending.status}: {ending.cause}")
    return {"status": ending.status, "deployment": record.id}


def _outcome(context: JobContext, record: Deployment) -> Ending:
    """Turn whatever happens into one ending; the one place that catches the unexpected."""
    app = context.app(record.app)
    if app is None:
        cause = f"the app {record.app} is not in the catalogue any more"
        return _not_begun(context, record, Ending(Status.FAILED, cause, Hint(HintKind.SHOW_STATUS)))
    settings = context.config.settings
    try:
        environment = app_environment(app)
        masks, shared = _masks(app, environment), settings.logs is not None
        logfile = LogFile(settings.log_path(app.name, record.id), masks, shared=shared)
    except DeployError as error:
        return _not_begun(context, record, Ending(error.ending, error.cause, error.hint))
    except OSError as error:
        cause = f"the log cannot be written: {error}"
        return _not_begun(context, record, Ending(Status.FAILED, cause, Hint(HintKind.RUN_DOCTOR)))
    with logfile:
        recorder = Recorder(record, context.impatient, logfile)
        ending = _ending_of(context, app, recorder, environment)
        ending = replace(ending, cause=recorder.clean(ending.cause) if ending.cause else None)
        if ending.head is not None:
            publish_standing(context, app, ending.head, ending.cause)
        recorder.line(f"{ending.status}: {ending.cause or app.name + ' serves the new release'}")
        recorder.decided(app.ref, ending.verdict, *_why(ending, recorder.deployment), head=ending.head)
        if ending.hint:
            recorder.line(f"next: {render_hint(ending.hint, app.name, record.id)}")
        return ending


def _not_begun(context: JobContext, record: Deployment, ending: Ending) -> Ending:
    """Keep the decision about a deployment that nobody could begin with: it has no log to tell of it."""
    why, status = _why(ending, record)
    record_decision(context.impatient.connection, record, ending.verdict, why, ending=status)
    return ending


def _why(ending: Ending, record: Deployment) -> tuple[str, Status | None]:
    """Return the reason of the decision, and the ending if the deployment itself is the decision."""
    why = ending.cause or f"{(record.commit or '')[:12]} serves"
    return why, ending.status if ending.verdict is Verdict.ENDED else None


def _masks(app: App, environment: Mapping[str, str]) -> Redaction:
    """Know every place where a credential may come from."""
    own = {**app.dependencies.environment, **app.build.environment, **environment}
    return Redaction(host_variables(), own, *shared_variables(app))


def _ending_of(context: JobContext, app: App, recorder: Recorder, environment: Mapping[str, str]) -> Ending:
    try:
        places = AppPaths(root=app.root, settings=context.config.settings, app=app.name)
        task = Task(app, context.config.settings, places, Journal(places.journal), recorder, environment)
        return run_pipeline(task, context.config.frozen, lambda seen: publish(context, app.name, seen))
    except Exception as error:
        event(log, "hookd failed", logging.ERROR, trace=True, deployment=recorder.deployment.id)
        cause = f"hookd itself failed ({type(error).__name__}); the worker's log says where"
        return Ending(Status.FAILED, cause, Hint(HintKind.SHOW_WORKER_LOG))


def _now() -> datetime:
    return datetime.now(UTC)
