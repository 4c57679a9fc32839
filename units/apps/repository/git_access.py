"""The worker's access to a repository: a deploy key per app, and accepted host keys."""

import re
import shlex
from typing import Final

from hookd.commands import edit_command
from hookd.variables import UnusableVariables, parse
from units.apps.table.options import Remote
from units.system import disk, layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run, succeeds

# One line, because the file belongs to the worker's user and a person pastes its content.
_PUBLIC_KEY: Final = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]+(?: [!-~ ]*)?")
_SCAN_SECONDS: Final = 10
_PROBE_SECONDS: Final = 120


def as_worker(*argv: str) -> tuple[str, ...]:
    """Return the command as the worker's user, because root touches no files in that user's directories."""
    return ("runuser", "-u", layout.WORKER, "--", *argv)


def worker_command_line(*argv: str) -> str:
    """Return the same for a person to type. It detaches the terminal, into which the worker's user could type."""
    return shlex.join(("sudo", "setsid", "--wait", *as_worker(*argv)))


def make_deploy_key(app: str) -> str:
    """Return the app's public key, and make the pair if it is missing. Raises HostError for an invalid file."""
    key = layout.deploy_key(app)
    if disk.status(key) is None:
        run(as_worker("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"hookd {app}", "-f", str(key)))
    path = key.with_name(f"{key.name}.pub")
    public = (disk.read(path) or b"").decode(errors="replace").strip()
    if not _PUBLIC_KEY.fullmatch(public):
        raise HostError(f"{path} holds no public key", hint=f"sudo rm -f {key} {path}")
    return public


def accept_host_keys(remote: Remote) -> str | None:
    """Accept the git host's current keys and return their fingerprints, or None for a known host.

    Raises HostError if the host does not answer.
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
    disk.write(known, before + text.encode(), disk.PUBLIC)
    return run(("ssh-keygen", "-l", "-f", "-"), text=text).strip()


def worker_environment() -> dict[str, str]:
    """Return the proxies and certificates that systemd gives the worker. Raises HostError if it refuses the file."""
    path = layout.WORKER_ENVIRONMENT
    try:
        return parse((disk.read(path) or b"").decode("utf-8", "replace"))
    except UnusableVariables as refused:
        raise HostError(f"systemd refuses {path}: {refused}", hint=edit_command(str(path))) from None


def check_access(app: str) -> str | None:
    """Read the branch's head as the worker's user. Return the error, or None."""
    probe = as_worker(str(layout.PYTHON), "-P", "-m", "worker.probe", app)
    try:
        run(probe, seconds=_PROBE_SECONDS, extra=worker_environment())
    except CommandFailed as error:
        return error.output or str(error)
    return None
