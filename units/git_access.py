"""How the worker gets at a repository: a read-only key of the app's own, and the host keys that are accepted."""

from pathlib import Path
from typing import Final

from units import disk, layout
from units.errors import HostError
from units.run import CommandFailed, run, succeeds
from units.wish import Remote

_OWNER: Final = disk.Owner(0, 0, 0o644)
_SCAN_SECONDS: Final = 10
_PROBE_SECONDS: Final = 120


def as_worker(*argv: str) -> tuple[str, ...]:
    """The same command as the worker's user: root touches nothing in that user's directories itself."""
    return ("runuser", "-u", layout.WORKER, "--", *argv)


def deploy_key(app: str) -> str:
    """Make the app's key unless it is there, and return the public one."""
    key = layout.deploy_key(app)
    if disk.status(key) is None:
        run(as_worker("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"hookd {app}", "-f", str(key)))
    public = disk.read(key.with_name(f"{key.name}.pub"))
    if public is None:
        raise HostError(f"the public half of {key} is not there", hint=f"sudo rm {key}, then the same command again")
    return public.decode(errors="replace").strip()


def know_host(remote: Remote) -> str | None:
    """Accept the git host's keys as they are now, once; returns their fingerprints to compare, None when known before.

    Raises HostError when the host does not answer.
    """
    name = f"[{remote.host}]:{remote.port}" if remote.port not in (None, 22) else remote.host
    known = layout.KNOWN_HOSTS
    if succeeds(("ssh-keygen", "-F", name, "-f", str(known))):
        return None
    port = ("-p", str(remote.port)) if remote.port else ()
    try:
        printed = run(("ssh-keyscan", "-T", str(_SCAN_SECONDS), *port, "--", remote.host), seconds=3 * _SCAN_SECONDS)
    except CommandFailed as error:
        raise HostError(f"the git host {name} gave no host key: {error}", hint=f"ssh-keyscan {remote.host}") from None
    keys = [line for line in printed.splitlines() if line and not line.startswith("#")]
    if not keys:
        raise HostError(f"the git host {name} gave no host key", hint=f"ssh-keyscan {remote.host}")
    text = "".join(f"{line}\n" for line in keys)
    before = disk.read(known) or b""
    disk.write(known, before + text.encode(), _OWNER)
    return run(("ssh-keygen", "-l", "-f", "-"), text=text).strip()


def probe(app: str) -> str | None:
    """Ask the remote for the branch's head, as the worker would; returns what is wrong, None when it can be read."""
    python: Path = layout.PYTHON
    try:
        run(as_worker(str(python), "-P", "-m", "worker.probe", app), seconds=_PROBE_SECONDS)
    except CommandFailed as error:
        return error.output or str(error)
    return None
