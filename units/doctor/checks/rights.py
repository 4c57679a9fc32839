"""Rights of hookd's users: no login, no lingering services, no group that grants too much, and the worker's sudo.

sudo itself is asked, and runs nothing. `files` reports missing users and groups.
"""

import grp
import pwd
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.units.systemctl import SUDO, SYSTEMCTL, sudo_commands
from units.apps.accounts.rules import is_power_group
from units.apps.repository.git_access import as_worker
from units.changes.accounts import User
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok
from units.host.changes import ACCOUNTS
from units.system import layout
from units.system.run import CommandFailed, run, succeeds

# systemd starts services of the users listed here at boot. With polkit installed, a user can add itself.
_LINGER: Final = Path("/var/lib/systemd/linger")
_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
_REQUIRED_GROUPS: Final = {
    change.name: {change.name, *change.groups} for change in ACCOUNTS if isinstance(change, User)
}
# Distributions and other programs add www-data to groups of their own.
_FORBIDDEN_FOR_WEB: Final = {layout.QUEUE_GROUP, layout.WORKER, layout.RECEIVER, layout.REDIS, "sudo", "root"}
_SECONDS: Final = 5
_FORBIDDEN_COMMANDS: Final = (
    ("/bin/sh",),
    (SYSTEMCTL, "restart", "ssh.service"),
    (SYSTEMCTL, "stop", "hookd.service"),
    (SYSTEMCTL, "daemon-reload"),
    (SYSTEMCTL, "edit", "hookd.service"),
)


@dataclass(frozen=True)
class SystemAccount:
    """A user of the host. `groups` are all its groups. It `lingers` if systemd starts services for it at boot."""

    uid: int
    shell: str
    groups: frozenset[str]
    lingers: bool = False


def check_accounts(context: HostContext) -> Iterator[Finding]:
    """Check each user of the setup. The worker is also in the groups of the apps."""
    missing = []
    for name in _REQUIRED_GROUPS:
        try:
            account = _read_account(name)
            more = _app_groups(context, account) if name == layout.WORKER else frozenset()
            yield from check_account(name, account, more)
        except KeyError:
            missing.append(name)
    if missing:
        raise CannotCheck(f"these users are missing: {', '.join(missing)}", "sudo hookd setup")


def _app_groups(context: HostContext, worker: SystemAccount) -> frozenset[str]:
    """Return the groups of the apps that give no power. An app with an invalid file may have any of the worker's."""
    is_known = context.loaded is not None and context.is_complete
    apps = context.loaded.catalogue.apps if context.loaded else ()
    groups = frozenset(app.ownership.group for app in apps) if is_known else worker.groups
    return frozenset(group for group in groups if not is_power_group(group))


def _read_account(name: str) -> SystemAccount:
    """Read a user and its groups. Raises KeyError."""
    found = pwd.getpwnam(name)
    groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == found.pw_gid}
    return SystemAccount(found.pw_uid, found.pw_shell, frozenset(groups), (_LINGER / name).exists())


def check_account(name: str, account: SystemAccount, more: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Report each right of a user that hookd does not need. `more` groups are allowed."""
    if account.shell not in _SHELLS:
        yield error(f"{name} can log in with {account.shell}", f"sudo usermod --shell {_SHELLS[0]} {name}")
    if account.lingers:
        disable = f"sudo loginctl disable-linger {name}; sudo systemctl stop user@{account.uid}.service"
        yield error(f"{name} may linger: systemd starts services for it outside hookd's sandboxes", disable)
    excess = account.groups - _REQUIRED_GROUPS[name] - more
    for group in sorted(account.groups & _FORBIDDEN_FOR_WEB if name == layout.WEB else excess):
        yield error(f"{name} must not be in the group {group}", f"sudo gpasswd --delete {name} {group}")


def check_sudo(context: HostContext) -> Iterator[Finding]:
    """Check sudo's files, commands that must be refused, and the workers' privileges."""
    context.require_root("ask sudo for the worker's rights")
    if not Path(SUDO).exists():
        yield error(f"{SUDO} is missing: no deployment can restart its app", "sudo apt-get install sudo")
        return
    try:
        run(("visudo", "-c"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"sudo rejects its configuration: {failed.output}", "sudo visudo -c")
    yield from _check_forbidden(_FORBIDDEN_COMMANDS)
    yield from _check_workers(context)


def check_app_sudo(context: HostContext, app: App) -> Iterator[Finding]:
    """Check that sudo allows each command of a deployment and refuses similar ones."""
    context.require_root("ask sudo for the worker's rights")
    rights = sudo_commands(app)
    if not rights:
        yield ok(f"deployments of {app.name} need no right")
    for argv in rights:
        if not _is_allowed(argv):
            yield error(f"the worker may not run `sudo {' '.join(argv)}`", "sudo hookd setup")
    yield from _check_forbidden(_near_misses(app, rights))


def _is_allowed(argv: tuple[str, ...]) -> bool:
    """Return True if sudo would run a command for the worker."""
    return succeeds(as_worker(SUDO, "-n", "-l", "--", *argv), seconds=_SECONDS)


def _check_forbidden(commands: tuple[tuple[str, ...], ...]) -> Iterator[Finding]:
    for argv in filter(_is_allowed, commands):
        yield error(f"the worker may run `sudo {' '.join(argv)}`", f"sudo -l -U {layout.WORKER}")


def _near_misses(app: App, rights: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Return commands that differ slightly from allowed ones."""
    if not rights:
        return ()
    program, verb, unit = rights[0]
    stop = ((program, "stop", unit),) if app.service.handover == "restart" else ()
    return ((program, "edit", unit), (program, verb, unit, "ssh.service"), (program, verb, "--now", unit), *stop)


def _check_workers(context: HostContext) -> Iterator[Finding]:
    """Report workers without the privilege to use sudo."""
    for name in layout.WORKERS:
        with suppress(FileNotFoundError, ProcessLookupError):  # The worker is stopped, or ended during the check.
            status = Path(f"/proc/{context.unit(name).process}/status").read_text(encoding="utf-8", errors="replace")
            yield from check_privileges(name, status)


def check_privileges(unit: str, status: str) -> Iterator[Finding]:
    """Report a process that cannot use sudo, from its `/proc/PID/status`. Raises CannotCheck for an unknown format."""
    found = re.search(r"^NoNewPrivs:\t([01])$", status, re.MULTILINE)
    if found is None:
        raise CannotCheck(f"the kernel does not show if {unit} may use sudo", "uname -r")
    if found[1] == "1":
        yield error(f"{unit} runs with NoNewPrivileges: sudo fails", f"sudo systemctl edit {unit}")
