"""Users and groups that no app may have, because they are hookd's or the system's, or give power over the host."""

from collections.abc import Iterator
from typing import Final

from hookd.model.tables.files import Ownership
from units.system import layout
from units.system.accounts import find_group, find_user, groups_of
from units.system.errors import Reason

# Members of these groups can become root, or read the host's logs and disks.
_POWER_GROUPS: Final = frozenset(
    "adm admin disk docker incus incus-admin kmem kvm libvirt libvirt-qemu lxd microk8s podman root shadow staff sudo"
    " systemd-journal tty wheel".split()
)
# Users and groups of services to which Debian gives no fixed number.
_DAEMONS: Final = frozenset(
    "avahi bind chrony colord dnsmasq landscape memcache messagebus mongodb mysql nginx ntpsec polkitd pollinate"
    " postdrop postfix postgres rabbitmq redis rtkit sshd ssl-cert statd syslog tcpdump tss usbmux uuidd".split()
)
# Debian gives these numbers to the system's own users and groups: policy manual, section 9.2.2.
_FIRST_FREE_ID: Final = 100


def is_hookds(name: str) -> bool:
    """Return True if a user or group is hookd's own."""
    return name in (layout.WORKER, layout.RECEIVER) or name.startswith(f"{layout.RECEIVER}-")


def ownership_conflicts(ownership: Ownership) -> Iterator[str]:
    """Return the reasons why an app may not have this user or this group."""
    user, group = ownership.user, ownership.group
    yield from (reasons := list(user_conflicts(user)))
    is_reported = reasons and group == user
    if not is_reported and (is_power_group(group) or _is_systems(group, _gid(group))):
        yield f"ownership.group: {group} is not for apps"


def user_conflicts(name: str) -> Iterator[str]:
    """Return the reasons why an app may not run as this user. A missing user has no number and no group."""
    found = find_user(name)
    uid = found.pw_uid if found else None
    if name == "root" or uid == 0 or is_hookds(name):
        yield f"ownership.user: an app does not run as {name}"
    elif _is_systems(name, uid):
        yield f"ownership.user: {name} belongs to a service of the system"
    else:
        for group in sorted(filter(is_power_group, groups_of(name))):
            cause = f"ownership.user: {name} is in the group {group}"
            yield str(Reason(cause, f"sudo gpasswd --delete {name} {group}"))


def is_power_group(name: str) -> bool:
    """Return True if the members of a group have power over the host or over hookd."""
    return name in _POWER_GROUPS or _gid(name) == 0 or is_hookds(name)


def _is_systems(name: str, number: int | None) -> bool:
    if name == layout.WEB:
        return False
    return name in _DAEMONS or name.startswith(("systemd-", "_")) or (number is not None and number < _FIRST_FREE_ID)


def _gid(group: str) -> int | None:
    found = find_group(group)
    return found.gr_gid if found else None
