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
from rq.timeouts import JobTimeoutException

from hookd import freezes
from hookd.config import Config, ConfigError, config_path, load
from hookd.credentials import redis_user
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.app_status import with_state
from hookd.model.decision import Ruling, Verdict
from hookd.model.deployment import UNDONE, Deployment, IllegalTransition, Status, Trigger, advance
from hookd.model.eligibility import why_not
from hookd.model.ids import app_of
from hookd.model.paths import Places
from hookd.model.settings import Settings
from hookd.queue.client import PatientRedis, impatient
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.deployments import Records, Request
from worker.context import Task, app_environment, host_variables, shared_variables
from worker.deploy.pipeline import Ending, Seen
from worker.deploy.pipeline import deploy as run_pipeline
from worker.errors import DeployError, DeploymentFailed
from worker.journal import Journal
from worker.reconcile.lag import behind, how_far, missed
from worker.recovery.liveness import end_dead, still_runs
from worker.report.log_file import LogFile
from worker.report.recorder import Recorder, keep_decision
from worker.report.redaction import Masks

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


def _open(deployment_id: str) -> Context:
    """Read the configuration; one that was broken since the worker's start ends the deployment, not the queue."""
    try:
        return open_context(deployment_id)
    except ConfigError as error:
        cause = f"the configuration cannot be used: {error.problems[0]}"
        running = get_current_job()
        if running is not None:
            end_dead(running.connection, deployment_id, Status.FAILED, cause)
        raise DeploymentFailed(cause) from None


def _record(context: Context, deployment_id: str) -> Deployment:
    try:
        return context.patient.get(deployment_id)
    except NoSuchDeployment:
        raise DeploymentFailed(f"there is no record of the deployment {deployment_id}") from None


def _replay(context: Context, record: Deployment) -> dict[str, str]:
    app = context.app(record.app)
    if app is None:
        raise DeploymentFailed(f"the app {record.app} is not in the catalogue any more")
    answer = context.patient.request(
        Request(
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


def _left_running(context: Context, record: Deployment) -> dict[str, str]:
    """Deal with a record that another process was running: it still does, or it has died."""
    if still_runs(record.id):
        return {"status": record.status, "deployment": record.id}
    end_dead(context.patient.connection, record.id, Status.FAILED, "the worker died while it ran")
    return _replay(context, record)


def _deploy(context: Context, record: Deployment) -> dict[str, str]:
    try:
        record = context.patient.change(record.id, lambda old: advance(old, Status.RUNNING, _now()))
    except IllegalTransition:  # Superseded since it was read, a moment ago.
        return {"status": context.patient.get(record.id).status, "deployment": record.id}
    event(log, "started", app=record.app, deployment=record.id, trigger=record.trigger)
    ending = _outcome(context, record)
    signal.alarm(0)  # RQ's alarm must not ring now: the ending is recorded, however late it is.
    context.patient.change(
        record.id, lambda old: advance(old, ending.status, _now(), cause=ending.cause, hint=ending.hint)
    )
    event(log, "ended", app=record.app, deployment=record.id, status=ending.status, cause=ending.cause)
    tidy(context, record.app)
    if ending.status in UNDONE:
        raise DeploymentFailed(f"{record.id} ended {ending.status}: {ending.cause}")
    return {"status": ending.status, "deployment": record.id}


def _outcome(context: Context, record: Deployment) -> Ending:
    """Turn whatever happens into one ending; the one place that catches the unexpected."""
    app = context.app(record.app)
    if app is None:
        cause = f"the app {record.app} is not in the catalogue any more"
        return _not_begun(context, record, Ending(Status.FAILED, cause, "hookd status"))
    settings = context.config.settings
    try:
        environment = app_environment(app)
        masks, shared = _masks(app, environment), settings.logs is not None
        logfile = LogFile(settings.log_path(app.name, record.id), masks, shared=shared)
    except DeployError as error:
        return _not_begun(context, record, Ending(error.ending, error.cause, error.hint))
    except OSError as error:
        cause = f"the log cannot be written: {error}"
        return _not_begun(context, record, Ending(Status.FAILED, cause, f"hookd doctor {app.name}"))
    with logfile:
        recorder = Recorder(record, context.impatient, logfile)
        ending = _ending_of(context, app, recorder, environment)
        ending = replace(ending, cause=recorder.clean(ending.cause) if ending.cause else None)
        if recorder.head is not None:
            publish_standing(context, app, recorder.head, ending.cause)
        recorder.line(f"{ending.status}: {ending.cause or app.name + ' serves the new release'}")
        recorder.decided(app.ref, ending.verdict, _why(ending, recorder.deployment))
        if ending.hint:
            recorder.line(f"next: {ending.hint}")
        return ending


def _not_begun(context: Context, record: Deployment, ending: Ending) -> Ending:
    """Keep the decision about a deployment that nobody could begin with: it has no log to tell of it."""
    keep_decision(context.impatient.connection, record, ending.verdict, _why(ending, record))
    return ending


def _why(ending: Ending, record: Deployment) -> str:
    """The decision's own words; where something was deployed, how that ended."""
    cause = ending.cause or f"{(record.commit or '')[:12]} serves"
    return f"{ending.status}: {cause}" if ending.verdict is Verdict.ENDED else cause


def _masks(app: App, environment: Mapping[str, str]) -> Masks:
    """Know every place where a credential may come from."""
    own = {**app.dependencies.environment, **app.build.environment, **environment}
    return Masks(host_variables(), own, *shared_variables(app))


def _ending_of(context: Context, app: App, recorder: Recorder, environment: Mapping[str, str]) -> Ending:
    logs = f"hookd logs {recorder.deployment.id}"
    try:
        places = Places(root=app.root, settings=context.config.settings, app=app.name)
        task = Task(app, context.config.settings, places, Journal(places.journal), recorder, environment)
        return run_pipeline(task, context.config.frozen, lambda seen: publish(context, app.name, seen))
    except DeployError as error:
        return Ending(error.ending, error.cause, error.hint, verdict=error.verdict)
    except JobTimeoutException:
        return Ending(Status.FAILED, f"the deployment took longer than {app.limits.deploy_seconds} s", logs)
    except OSError as error:
        event(log, "refused by the system", logging.ERROR, trace=True, deployment=recorder.deployment.id)
        cause = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        return Ending(Status.FAILED, cause, logs)
    except Exception as error:
        event(log, "hookd failed", logging.ERROR, trace=True, deployment=recorder.deployment.id)
        cause = f"hookd itself failed ({type(error).__name__}); the worker's log says where"
        return Ending(Status.FAILED, cause, "journalctl --unit 'hookd-worker@*' --lines 50")


def _now() -> datetime:
    return datetime.now(UTC)
