"""The git host: asked by the worker's own program, as the worker, with the app's key; and how far behind the app is."""

from collections.abc import Iterator
from io import StringIO
from typing import Final

from dotenv import dotenv_values

from hookd.contract.catalogue import App
from hookd.contract.deployment import Trigger
from hookd.contract.journal import AppState
from hookd.contract.ruling import why_not
from units import disk, layout
from units.doctor.finding import Finding, Unseen, error, ok, warning
from units.doctor.subject import Subject
from units.git_access import as_worker
from units.run import CommandFailed, run

_PROBE_SECONDS: Final = 8
# The program's own start, and the grace for git to end.
_MORE_SECONDS: Final = 7


def check_app(subject: Subject, app: App) -> Iterator[Finding]:
    """Ask for the branch's head, and compare it with what serves."""
    if not subject.is_root:
        raise Unseen("only root can ask the git host as the worker would", "sudo hookd doctor")
    probe = as_worker(str(layout.PYTHON), "-P", "-m", "worker.probe", app.name, str(_PROBE_SECONDS))
    given = {**_worker_environment(), "HOOKD_CONFIG": str(subject.path)}
    try:
        head = run(probe, seconds=_PROBE_SECONDS + _MORE_SECONDS, extra=given).strip()
    except CommandFailed as failed:
        said = failed.output or str(failed)
        yield error(f"the worker cannot read {app.name}'s repository: {said}", hint_for(said, app))
        return
    yield from behind(app.name, head, subject.state(app))


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
    return f"sudo runuser -u {layout.WORKER} -- {layout.PYTHON} -P -m worker.probe {app.name}"


def behind(name: str, head: str, state: AppState) -> Iterator[Finding]:
    """Say how the commit that serves stands to the branch's head."""
    if state.deployed is None:
        yield ok(f"the branch's head is {head[:12]}")
    elif state.deployed.commit == head:
        yield ok(f"the repository can be read, and its head {head[:12]} is what serves")
    else:
        reason = why_not(state, head, Trigger.PUSH)
        why = f": {reason.why}" if reason else ", and no push has brought it here yet"
        serves = f"{name} serves {state.deployed.commit[:12]}, and the branch's head is {head[:12]}{why}"
        yield warning(serves, f"sudo hookd deploy {name}")
