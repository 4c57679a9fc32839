"""Queue and deployments: workers, overdue deployments, the last ending, the last push, and freezes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from redis import Redis

from hookd import freezes
from hookd.commands import start_command
from hookd.model.app import App
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status, Trigger
from hookd.model.text import format_duration
from hookd.queue import rq_keys
from hookd.queue.deployments import DeploymentStore
from units.apps.repository.git_access import worker_command_line
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, warning
from units.system import layout

_WORKERS_RESTART: Final = f"sudo systemctl restart {' '.join(layout.WORKERS)}"
# Limit for a queued deployment while no other one of the app runs.
_MAX_WAITING: Final = timedelta(minutes=5)
_GRACE: Final = timedelta(minutes=2)
# A worker's own key has no further colon, unlike the key of its executions.
_WORKER_KEYS: Final = f"{rq_keys.WORKER_PREFIX}*"
_LONG_FREEZE: Final = timedelta(days=7)


def check(context: HostContext) -> Iterator[Finding]:
    """Check that all workers are connected and the queue is not suspended."""
    with context.redis() as redis:
        workers = _count_workers(redis)
        suspended = redis.exists(rq_keys.SUSPENDED)
    if not workers:
        yield error("no worker is connected to Redis: nothing is deployed", _WORKERS_RESTART)
    elif workers < len(layout.WORKERS):
        yield warning(f"{workers} of {len(layout.WORKERS)} workers are connected to Redis", _WORKERS_RESTART)
    if suspended:
        resume = worker_command_line("sh", "-c", f". {context.settings.rq_environment} && rq resume")
        yield error("the queue is suspended (rq suspend): nothing is deployed", resume)


def _count_workers(redis: Redis) -> int:
    """Count the keys of living workers, which expire soon after a worker's death.

    RQ's own list also names workers that died. A worker that ended normally keeps its key for a minute, with a time of
    death.
    """
    names = (name for name in redis.scan_iter(_WORKER_KEYS, count=1000) if name.count(b":") == _WORKER_KEYS.count(":"))
    return sum(not redis.hexists(name, "death") for name in names)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's last deployments and pushes."""
    settings = context.settings
    with context.redis() as redis:
        history = DeploymentStore(redis, keep_seconds=settings.history_seconds).history(app.name, settings.history.keep)
    restart = _WORKERS_RESTART if context.is_server else start_command("worker", context.config)
    yield from check_overdue(app, history, context.now, restart)
    yield from check_last_deployment(app, history)
    url = (settings.receiver.public_url or "http://THIS-HOST").rstrip("/")
    show = f"sudo hookd app show {app.name}" if context.is_server else f"hookd send {app.name}"
    yield check_last_push(app, history, f"{url}/hooks/{app.name}", context.now, show)


def check_overdue(app: App, history: list[Deployment], now: datetime, restart: str) -> Iterator[Finding]:
    """Report deployments that run or wait for longer than allowed. `restart` is the command for the workers."""
    running = [record for record in history if record.status is Status.RUNNING]
    limit = timedelta(seconds=app.job_seconds) + _GRACE
    for record in running:
        age = now - (record.started_at or record.created_at)
        if age > limit:
            message = f"{record.id} has been running for {format_duration(age)}, longer than its limit"
            yield error(message, f"sudo hookd logs {record.id}; {restart}")
    for record in (record for record in history if record.status is Status.QUEUED):
        age = now - record.created_at
        if age > (limit if running else _MAX_WAITING):
            yield error(f"{record.id} has been waiting for {format_duration(age)}", restart)


def check_last_deployment(app: App, history: list[Deployment]) -> Iterator[Finding]:
    """Report the last deployment if it failed, ignoring superseded ones."""
    last = next((record for record in history if record.ended and record.status is not Status.SUPERSEDED), None)
    if last is None or last.status not in RETRYABLE_ENDINGS:
        return
    message = f"the last deployment ended {last.status}: {last.cause or 'no cause recorded'}"
    # Not the record's own hint: an attacker in the receiver could forge it, and root types this one.
    hint = f"sudo hookd logs {last.id}; sudo hookd deploy {app.name}"
    yield (error if last.status is Status.ROLLBACK_FAILED else warning)(message, hint)


def check_last_push(app: App, history: list[Deployment], url: str, now: datetime, show: str) -> Finding:
    """Report the age of the last push, or a warning with the command `show` if no push ever arrived."""
    last = next((record for record in history if record.trigger in (Trigger.PUSH, Trigger.REDELIVERY)), None)
    if last is None:
        return warning(f"no push of {app.name} has ever arrived at {url}", show)
    return ok(f"the last push of {app.name} arrived {format_duration(now - last.created_at)} ago")


def check_freeze(context: HostContext, app: App) -> Iterator[Finding]:
    """Report an active freeze. Warn of an unreadable file, a freeze of over a week, and one without reconciling."""
    directory, thaw = context.config.freeze_directory, f"sudo hookd thaw {app.name}"
    try:
        freeze = freezes.read_freeze(directory, app.name)
    except (OSError, ValueError):
        yield warning(f"{directory / app.name} is no valid freeze: the app counts as frozen", thaw)
        return
    if freeze is None or not freeze.is_in_force(context.now):
        return
    if context.now - freeze.since > _LONG_FREEZE:
        yield warning(f"the freeze is {format_duration(context.now - freeze.since)} old: {freeze}", thaw)
    elif freeze.until and not app.reconcile.every:
        yield warning(f"{freeze} (its end deploys nothing: reconcile.every is 0)", thaw)
    else:
        yield ok(str(freeze))
