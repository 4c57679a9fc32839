"""The git host: asked by the worker's own program, as the worker, with the app's key; and how far behind the app is."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from io import StringIO
from typing import Final

from dotenv import dotenv_values
from redis.exceptions import RedisError

from hookd import freezes
from hookd.config import ConfigError
from hookd.credentials import PasswordUnreadable
from hookd.model.app import App
from hookd.model.decision import Assessment, Lag, Verdict
from hookd.model.deployment import Trigger
from hookd.model.eligibility import block_reason, remedy
from hookd.model.journal import AppState
from hookd.queue.app_status import AppStatusStore
from units.apps.git_access import as_worker, worker_command_line
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.system import disk, layout
from units.system.run import CommandFailed, run

_PROBE_SECONDS: Final = 8
# The program's own start, and the grace for git to end.
_GRACE_SECONDS: Final = 7
# What a person chose is well, like a freeze of its own check.
_INTENDED: Final = (Verdict.FROZEN, Verdict.PINNED)
# Neither the journal nor the freeze tells of these.
_RECONCILER_VERDICTS: Final = (Verdict.WAITING, Verdict.STOPPED)


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Ask for the branch's head, and compare it with what serves."""
    if not app.reconcile.every:
        never = f"{app.name} is never looked at (reconcile.every = 0): a push whose webhook gets lost is not deployed"
        yield warning(never, f"sudo hookd app edit {app.name} --set reconcile.every=180")
    if not subject.is_root:
        raise CannotCheck("only root can ask the git host as the worker would", "sudo hookd doctor")
    probe = as_worker(str(layout.PYTHON), "-P", "-m", "worker.probe", app.name, str(_PROBE_SECONDS))
    given = {**_worker_environment(), "HOOKD_CONFIG": str(subject.path)}
    try:
        head = run(probe, seconds=_PROBE_SECONDS + _GRACE_SECONDS, extra=given).strip()
    except CommandFailed as failed:
        said = failed.output or str(failed)
        yield error(f"the worker cannot read {app.name}'s repository: {said}", hint_for(said, app))
        return
    state, freeze = subject.state(app), freezes.active_freeze(subject.config.frozen, app.name, subject.now)
    ruling = block_reason(state, head, Trigger.RECONCILE, freeze)
    yield from check_lag(app, head, state, ruling, now=subject.now, known=_published_lag(subject, app))


def _worker_environment() -> dict[str, str]:
    """The proxies and certificates that systemd gives the worker."""
    text = (disk.read(layout.WORKER_ENVIRONMENT) or b"").decode("utf-8", "replace")
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def hint_for(said: str, app: App) -> str:
    """The next thing to type; ssh and git speak English here, as their language is set."""
    if "Permission denied" in said or "denied" in said.lower():
        return f"add this key at the git host, to read only: sudo cat {app.deploy_key}.pub"
    if "Host key verification failed" in said or "host key" in said.lower():
        known = f"ssh-keyscan HOST | sudo tee -a {layout.KNOWN_HOSTS}"
        return f"compare the host's fingerprint with the one it publishes, then: {known}"
    if "has no branch" in said:
        return f"sudo hookd app edit {app.name} --set branch=NAME"
    return worker_command_line(str(layout.PYTHON), "-P", "-m", "worker.probe", app.name)


def check_lag(
    app: App, head: str, state: AppState, ruling: Assessment | None, *, now: datetime, known: Lag | None = None
) -> Iterator[Finding]:
    """Say how the commit that serves stands to the branch's head, and what keeps it from there.

    `known` is what the last look found; a build that failed, say, leaves no other trace.
    """
    if state.deployed is None:
        yield ok(f"the branch's head is {head[:12]}")
        return
    if state.deployed.commit == head:
        yield ok(f"the repository can be read, and its head {head[:12]} is what serves")
        return
    if ruling is not None and ruling.verdict is Verdict.SKIPPED:
        yield ok(ruling.why)
        return
    if ruling is None and known is not None and known.verdict in _RECONCILER_VERDICTS:
        ruling = Assessment(verdict=known.verdict, why=known.why)
    far = f" ({known.distance(now)})" if known else ""
    why = f": {ruling.why}" if ruling else ", and nothing has brought it here yet"
    serves = f"{app.name} serves {state.deployed.commit[:12]}, and the branch's head is {head[:12]}{far}{why}"
    if ruling is not None and ruling.verdict in _INTENDED:
        yield ok(serves)
    else:
        told = remedy(ruling.verdict, app.name, "sudo hookd") if ruling else ""
        yield warning(serves, told or f"sudo hookd deploy {app.name}")


def _published_lag(subject: HostContext, app: App) -> Lag | None:
    """What the last look found; nothing when Redis does not say."""
    try:
        with closing(subject.redis()) as redis:
            return AppStatusStore(redis).read(app.name).lag
    except (RedisError, ConfigError, PasswordUnreadable):
        return None
