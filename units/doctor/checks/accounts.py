"""Users and groups: those that are needed, in the groups they need, and in none that would let them do more."""

import grp
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, error
from units.system import layout

GOOD: Final = "every user is there, in the groups it needs and in no other"
# Where systemd notes for whom it starts services at boot; code of a push can ask for that where polkit is installed.
_LINGER: Final = Path("/var/lib/systemd/linger")
_SHELLS: Final = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
# What each user needs besides the group of its own name.
_REQUIRED_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    layout.RECEIVER: frozenset({layout.QUEUE_GROUP}),
    layout.WORKER: frozenset({layout.WEB, layout.QUEUE_GROUP}),
    layout.REDIS: frozenset(),
    layout.WEB: frozenset(),
}
# Redis hands its socket to the queue's group; what else www-data is in is the distribution's and the host's business.
_ALLOWED_GROUPS: Final[Mapping[str, frozenset[str]]] = {layout.REDIS: frozenset({layout.QUEUE_GROUP})}
_FORBIDDEN_FOR_WEB: Final = frozenset(
    {layout.QUEUE_GROUP, layout.WORKER, layout.RECEIVER, layout.REDIS, "sudo", "root"}
)
_RISKS: Final[Mapping[str, str]] = {
    layout.RECEIVER: "whoever breaks into the receiver could use it",
    layout.WORKER: "whoever may push to an app acts as this user",
    layout.REDIS: "Redis needs no other group",
    layout.WEB: "every app runs as this user",
}


@dataclass(frozen=True)
class SystemAccount:
    """A user of the host: its number, its shell, the names of all its groups; `lingers`: systemd starts for it, too."""

    uid: int
    shell: str
    groups: frozenset[str]
    lingers: bool = False


def check(_subject: HostContext) -> Iterator[Finding]:
    """Compare the accounts of this host with those that hookd needs."""
    for name in _REQUIRED_GROUPS:
        yield from check_account(name, read_account(name))


def read_account(name: str) -> SystemAccount | None:
    """Read a user and its groups; None when there is no such user."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == found.pw_gid}
    return SystemAccount(found.pw_uid, found.pw_shell, frozenset(groups), (_LINGER / name).exists())


def check_account(name: str, account: SystemAccount | None) -> Iterator[Finding]:
    """Say what is wrong with one account."""
    if account is None:
        yield error(f"there is no user {name}, and hookd's units cannot run without it", "sudo hookd setup")
        return
    if account.uid == 0:
        yield error(f"{name} has the number of root and may do everything", f"sudo userdel {name} && sudo hookd setup")
    if account.shell not in _SHELLS:
        shell = f"sudo usermod --shell {_SHELLS[0]} {name}"
        yield error(f"somebody can log in as {name} (its shell is {account.shell})", shell)
    if account.lingers:
        away = f"sudo loginctl disable-linger {name}; sudo systemctl stop user@{account.uid}.service"
        yield error(f"systemd keeps services for {name} itself (linger), outside of hookd's sandboxes", away)
    for group in sorted(_REQUIRED_GROUPS[name] - account.groups):
        yield error(f"{name} is not in the group {group}, and cannot do its work", "sudo hookd setup")
    for group in sorted(_excess_groups(name, account)):
        out = f"sudo gpasswd --delete {name} {group}"
        yield error(f"{name} is in the group {group}, and must not be: {_RISKS[name]}", out)


def _excess_groups(name: str, account: SystemAccount) -> frozenset[str]:
    if name == layout.WEB:
        return account.groups & _FORBIDDEN_FOR_WEB
    return account.groups - _REQUIRED_GROUPS[name] - _ALLOWED_GROUPS.get(name, frozenset()) - {name}
