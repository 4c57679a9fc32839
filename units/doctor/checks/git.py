"""Git host: access to each app's repository with the worker's rights, and the lag behind its head."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from redis.exceptions import RedisError

from hookd import freezes
from hookd.config import ConfigError, configured_at
from hookd.credentials import PasswordUnreadable
from hookd.model.app import App
from hookd.model.decision import Assessment, Lag, Verdict, block_reason, remedy
from hookd.model.deployment import Trigger
from hookd.model.journal import AppState
from hookd.queue.published import read_status
from units.apps.repository.git_access import as_worker, worker_command_line, worker_environment
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.system import layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run

_PROBE_SECONDS: Final = 8
# Start of the program, and the grace period of git.
_GRACE_SECONDS: Final = 7
# A person chose these.
_INTENDED: Final = (Verdict.FROZEN, Verdict.PINNED)
# The reconciler alone knows these: neither journal nor freeze contains them.
_RECONCILER_VERDICTS: Final = (Verdict.WAITING, Verdict.STOPPED)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Read the branch's head and compare it with the deployed commit."""
    if not app.reconcile.every:
        enable = f"sudo hookd app edit {app.name} --set reconcile.every=180"
        yield warning(f"{app.name} is never reconciled: lost pushes stay undeployed", enable)
    context.require_root("ask the git host as the worker")
    probe = as_worker(str(layout.PYTHON), "-P", "-m", "worker.probe", app.name, str(_PROBE_SECONDS))
    environment = {**_worker_environment(), "HOOKD_CONFIG": str(context.path)}
    try:
        head = run(probe, seconds=_PROBE_SECONDS + _GRACE_SECONDS, extra=environment).strip()
    except CommandFailed as failed:
        output = failed.output or str(failed)
        yield error(f"the worker cannot read the repository of {app.name}: {output}", hint_for(output, app))
        return
    state = context.app_state(app)
    freeze = freezes.active_freeze(context.config.freeze_directory, app.name, context.now)
    blocked = block_reason(state, head, Trigger.RECONCILE, freeze, configured_at(context.config, app))
    yield from check_lag(app, head, state, blocked, now=context.now, known=_published_lag(context, app))


def _worker_environment() -> dict[str, str]:
    """Return the worker's own variables. Raises CannotCheck if systemd refuses the file."""
    try:
        return worker_environment()
    except HostError as refused:
        raise CannotCheck(str(refused), refused.hint) from None


def hint_for(output: str, app: App) -> str:
    """Return the command for an error of git or ssh, whose language is set to English."""
    if "denied" in output.lower():
        return f"sudo hookd app show {app.name}"
    if "host key" in output.lower():
        return f"ssh-keyscan HOST | sudo tee -a {layout.KNOWN_HOSTS}  # once its fingerprint is the published one"
    if "has no branch" in output:
        return f"sudo hookd app edit {app.name} --set branch=NAME"
    return worker_command_line(str(layout.PYTHON), "-P", "-m", "worker.probe", app.name)


def check_lag(
    app: App, head: str, state: AppState, blocked: Assessment | None, *, now: datetime, known: Lag | None = None
) -> Iterator[Finding]:
    """Compare the deployed commit with the head.

    `blocked` is the block reason from journal and freeze. `known` is the reconciler's last result, the only trace of a
    failed build.
    """
    if state.deployed is None and blocked is not None and blocked.verdict is Verdict.QUARANTINED:
        hint = remedy(blocked.verdict, app.name, "sudo hookd", needs_fix=blocked.needs_fix)
        yield warning(f"{app.name} serves nothing yet: {blocked.why}", hint)
        return
    if state.deployed is None:
        yield ok(f"the branch's head is {head[:12]}")
        return
    if state.deployed.commit == head:
        yield ok(f"the head {head[:12]} is deployed")
        return
    if blocked is not None and blocked.verdict is Verdict.SKIPPED:
        yield ok(blocked.why)
        return
    if blocked is None and known is not None and known.verdict in _RECONCILER_VERDICTS:
        blocked = Assessment(verdict=known.verdict, why=known.why)
    lag = f" ({known.distance(now)})" if known else ""
    why = blocked.why if blocked else "no deployment has started"
    message = f"{app.name} serves {state.deployed.commit[:12]}, the head is {head[:12]}{lag}: {why}"
    if blocked is not None and blocked.verdict in _INTENDED:
        yield ok(message)
    else:
        hint = remedy(blocked.verdict, app.name, "sudo hookd", needs_fix=blocked.needs_fix) if blocked else ""
        yield warning(message, hint or f"sudo hookd deploy {app.name}")


def _published_lag(context: HostContext, app: App) -> Lag | None:
    """Read the reconciler's last result from Redis. Return None if Redis cannot be read."""
    try:
        with context.redis() as redis:
            return read_status(redis, app.name).lag
    except (CannotCheck, RedisError, ConfigError, PasswordUnreadable):
        return None
