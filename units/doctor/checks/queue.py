"""The queue: somebody works on it, nothing waits too long, and the last deployments and pushes went well."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, Final

from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError

from hookd.model.app import App
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status, Trigger
from hookd.queue.deployments import DeploymentStore
from units.apps.git_access import worker_command_line
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.system import layout

GOOD: Final = "workers are there, and the queue is not suspended"
_WORKERS_RESTART: Final = f"sudo systemctl restart {' '.join(map(layout.worker_unit, layout.INSTANCES))}"
# What waits this long with nothing under way is forgotten; a deployment that runs may take its own limit and a bit.
_WAITING_SECONDS: Final = 300
_GRACE_SECONDS: Final = 120
# A worker's own key has no further colon; its executions' has.
_WORKER_KEYS: Final = "rq:worker:*"
_SUSPENDED_KEY: Final = "rq:suspended"


def check(subject: HostContext) -> Iterator[Finding]:
    """Look for workers that are alive, and for a queue that somebody has suspended."""
    with closing(subject.redis()) as redis:
        alive = _query(lambda: _count_workers(redis))
        suspended = _query(lambda: redis.exists(_SUSPENDED_KEY))
    if not alive:
        yield error("no worker is connected to Redis: pushes are accepted and nothing is deployed", _WORKERS_RESTART)
    elif alive < len(layout.INSTANCES):
        yield warning(f"{alive} of {len(layout.INSTANCES)} workers are connected to Redis", _WORKERS_RESTART)
    if suspended:
        resume = f". {subject.settings.rq_environment} && rq resume"
        why = "somebody has suspended the queue (rq suspend): pushes are accepted and nothing is deployed"
        yield error(why, worker_command_line("sh", "-c", resume))


def _query(question: Any) -> Any:
    try:
        return question()
    except (ConnectionError, TimeoutError) as failure:
        raise CannotCheck(
            f"Redis does not answer: {failure}", f"sudo systemctl restart {layout.REDIS}.service"
        ) from None


def _count_workers(redis: Redis) -> int:
    """Count the workers that say now and then that they live: such a key expires soon after a worker's death.

    Not RQ's own list of workers: it also names those that died and that nobody has taken off it yet.
    One that ended in good order says so in its key, which stays for a minute more.
    """
    names = (name for name in redis.scan_iter(_WORKER_KEYS, count=1000) if name.count(b":") == _WORKER_KEYS.count(":"))
    return sum(not redis.hexists(name, "death") for name in names)


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Look at an app's last deployments and pushes."""
    with closing(subject.redis()) as redis:
        records = DeploymentStore(redis, keep_seconds=subject.settings.history_seconds)
        history = _query(lambda: records.history(app.name, subject.settings.history.keep))
    yield from check_overdue(app, history, subject.now)
    yield from check_last_deployment(app, history)
    yield from check_last_push(app, history, _paste_hint(subject, app), subject.now)


def _paste_hint(subject: HostContext, app: App) -> str:
    """What to paste at the git host, and where that is shown again."""
    public = (subject.settings.receiver.public_url or "http://THIS-HOST").rstrip("/")
    return f"paste {public}/hooks/{app.name} and the secret at the git host: sudo hookd app show {app.name}"


def check_overdue(app: App, history: list[Deployment], now: datetime) -> Iterator[Finding]:
    """Say what waits or runs for longer than it should."""
    running = [one for one in history if one.status is Status.RUNNING]
    allowed = app.limits.deploy_seconds + _GRACE_SECONDS
    for one in running:
        seconds = _elapsed_seconds(one.started_at or one.created_at, now)
        if seconds > allowed:
            stuck = (
                f"{one.id} has been running for {_format_age(seconds)}, longer than its limit: its worker may be dead"
            )
            yield error(stuck, f"sudo hookd logs {one.id}; {_WORKERS_RESTART}")
    for one in (one for one in history if one.status is Status.QUEUED):
        seconds = _elapsed_seconds(one.created_at, now)
        if seconds > (allowed if running else _WAITING_SECONDS):
            late = f"{one.id} has been waiting for {_format_age(seconds)}, and nobody has begun with it"
            yield error(late, _WORKERS_RESTART)


def check_last_deployment(app: App, history: list[Deployment]) -> Iterator[Finding]:
    """Say how the last deployment that came to an end of its own ended, if not well."""
    last = next((one for one in history if one.ended and one.status is not Status.SUPERSEDED), None)
    if last is None or last.status not in RETRYABLE_ENDINGS:
        return
    what = f"the last deployment ended {last.status}: {last.cause or 'without a word'}"
    # The record's own hint stays out: it may be a stranger's, and root types what stands here.
    mend = f"sudo hookd logs {last.id}; sudo hookd deploy {app.name}"
    yield (error if last.status is Status.ROLLBACK_FAILED else warning)(what, mend)


def check_last_push(app: App, history: list[Deployment], where: str, now: datetime) -> Iterator[Finding]:
    """Say when the git host last told of a push."""
    last = next((one for one in history if one.trigger in (Trigger.PUSH, Trigger.REDELIVERY)), None)
    if last is None:
        yield warning(f"no push of {app.name} has ever arrived: it is deployed by hand only", where)
    else:
        yield ok(f"the last push of {app.name} arrived {_format_age(_elapsed_seconds(last.created_at, now))} ago")


def _elapsed_seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


_UNITS: Final[Mapping[str, int]] = {"d": 86_400, "h": 3600, "min": 60}


def _format_age(seconds: float) -> str:
    return next(
        (f"{seconds / size:.0f} {unit}" for unit, size in _UNITS.items() if seconds >= size), f"{seconds:.0f} s"
    )
