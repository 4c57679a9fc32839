"""Users of hookd: no login, no lingering services, no group that grants too much.

`installed_files` reports missing users and groups.
"""

import grp
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, error
from units.host.plan import ACCOUNTS
from units.plan.steps import User
from units.system import layout

# systemd starts services of the users listed here at boot. With polkit installed, a user can add itself.
_LINGER: Final = Path("/var/lib/systemd/linger")
_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
_REQUIRED_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    step.name: frozenset({step.name, *step.groups}) for step in ACCOUNTS if isinstance(step, User)
}
# Redis gives its socket to the queue's group.
_ALLOWED_GROUPS: Final[Mapping[str, frozenset[str]]] = {layout.REDIS: frozenset({layout.QUEUE_GROUP})}
# Distributions and other programs add www-data to groups of their own.
_FORBIDDEN_FOR_WEB: Final = frozenset(
    {layout.QUEUE_GROUP, layout.WORKER, layout.RECEIVER, layout.REDIS, "sudo", "root"}
)


@dataclass(frozen=True)
class SystemAccount:
    """A user of the host. `groups` are all its groups. It `lingers` if systemd starts services for it at boot."""

    uid: int
    shell: str
    groups: frozenset[str]
    lingers: bool = False


def check(_context: HostContext) -> Iterator[Finding]:
    """Check each user of the setup plan."""
    for name in _REQUIRED_GROUPS:
        if account := read_account(name):
            yield from check_account(name, account)


def read_account(name: str) -> SystemAccount | None:
    """Read a user and its groups. Return None if it does not exist."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == found.pw_gid}
    return SystemAccount(found.pw_uid, found.pw_shell, frozenset(groups), (_LINGER / name).exists())


def check_account(name: str, account: SystemAccount) -> Iterator[Finding]:
    """Report each right of a user that hookd does not need."""
    if account.uid == 0:
        yield error(f"{name} has user id 0, which is root's", f"sudo userdel {name} && sudo hookd setup")
    if account.shell not in _SHELLS:
        yield error(f"{name} can log in with {account.shell}", f"sudo usermod --shell {_SHELLS[0]} {name}")
    if account.lingers:
        disable = f"sudo loginctl disable-linger {name}; sudo systemctl stop user@{account.uid}.service"
        yield error(f"{name} may linger: systemd starts services for it outside hookd's sandboxes", disable)
    for group in sorted(_excess_groups(name, account)):
        yield error(f"{name} must not be in the group {group}", f"sudo gpasswd --delete {name} {group}")


def _excess_groups(name: str, account: SystemAccount) -> frozenset[str]:
    if name == layout.WEB:
        return account.groups & _FORBIDDEN_FOR_WEB
    return account.groups - _REQUIRED_GROUPS[name] - _ALLOWED_GROUPS.get(name, frozenset())
