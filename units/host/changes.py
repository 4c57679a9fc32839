"""The changes that set up the host without its apps: users, directories, passwords, files, and their reloads."""

import secrets
from pathlib import Path
from typing import Final

from hookd.credentials import ROLES
from hookd.model.catalogue import Catalogue
from units.changes.accounts import Group, User
from units.changes.change import (
    DAEMON_RELOAD,
    RESTART_RECEIVER,
    Change,
    Changes,
    Directory,
    File,
    Link,
    Run,
    drop_in_directories,
    nginx_reload_commands,
)
from units.render.host import host_files
from units.render.redis_acl import acl
from units.system import disk, layout
from units.system.facts import Host

_PASSWORD_BYTES: Final = 24
_KNOWN_HOSTS: Final = "# Accepted ssh host keys of git hosts. `hookd app add` writes them.\n"

ACCOUNTS: Final[Changes] = (
    *map(Group, (layout.QUEUE_GROUP, layout.RECEIVER, layout.WORKER, layout.REDIS, layout.WEB, layout.BUILDERS)),
    User(layout.RECEIVER, layout.RECEIVER, Path("/nonexistent"), (layout.QUEUE_GROUP,)),
    # No home: systemd could start a user unit from it at boot, outside of the worker's sandbox.
    User(layout.WORKER, layout.WORKER, Path("/nonexistent"), (layout.WEB, layout.QUEUE_GROUP)),
    User(layout.REDIS, layout.REDIS, layout.REDIS_STATE),
    User(layout.WEB, layout.WEB, Path("/var/www")),
)

_DIRECTORIES: Final[Changes] = (
    *(Directory(path, "root", "root", 0o755) for path in (layout.ETC, layout.APPS, layout.FROZEN, layout.ENVIRONMENTS)),
    Directory(layout.OWN_SITES, "root", "root", 0o755, "keep"),
    *(Directory(path, "root", "root", 0o700) for path in (layout.SECRETS, layout.PASSWORDS)),
    Directory(layout.STATE, layout.WORKER, layout.WORKER, 0o700),
    Directory(layout.KEYS, layout.WORKER, layout.WORKER, 0o700),
    Directory(layout.LOGS, layout.WORKER, layout.RECEIVER, 0o2750),
    # Each app's builds see their own caches only.
    Directory(layout.BUILD_CACHE, "root", "root", 0o700),
    Directory(layout.REDIS_STATE, layout.REDIS, layout.REDIS, 0o700),
    Directory(layout.BACKUPS, "root", "root", 0o700, "keep"),
)


def host_changes(host: Host, catalogue: Catalogue) -> Changes:
    """Build the changes of everything that belongs to no single app."""
    files = host_files(host, catalogue)
    return (
        *ACCOUNTS,
        *_DIRECTORIES,
        *((Directory(layout.ACME, "root", "root", 0o755),) if host.has_nginx else ()),
        *_own_files(),
        *drop_in_directories(files),
        *files,
        *_reload_commands(host, files),
    )


def _own_files() -> list[Change]:
    """Build the files of passwords and of the token. Existing values are kept."""
    passwords = {role: _existing_or_new(layout.PASSWORDS / role) for role in ROLES}
    return [
        *(File(layout.PASSWORDS / role, f"{password}\n", mode=0o600) for role, password in passwords.items()),
        File(layout.REDIS_ACL, acl(passwords), "root", layout.REDIS, 0o640),
        File(layout.TOKEN, f"{_existing_or_new(layout.TOKEN)}\n", mode=0o600),
        File(layout.KNOWN_HOSTS, _KNOWN_HOSTS, existing="keep"),
    ]


def _existing_or_new(path: Path) -> str:
    """Return the value in a file, or a new one."""
    return (disk.read(path) or b"").decode().strip() or secrets.token_urlsafe(_PASSWORD_BYTES)


def _reload_commands(host: Host, files: tuple[File | Link, ...]) -> list[Change]:
    """Build the commands that follow a change, in the order of the services' dependencies."""
    unit = layout.SYSTEMD
    drop_in = unit / "hookd-worker@.service.d"
    redis_files = (layout.REDIS_CONF, layout.REDIS_ACL, unit / "hookd-redis.service")
    receiver_files = (layout.CONFIG, layout.TOKEN, layout.PASSWORDS, unit / "hookd.service", unit / "hookd.socket")
    worker_files = (layout.CONFIG, layout.PASSWORDS, unit / "hookd-worker@.service", drop_in)
    changes: list[Change] = [
        Run(DAEMON_RELOAD, "systemd reads the units", after=(unit,)),
        Run(("systemctl", "try-restart", "hookd-redis.service"), "Redis loads its files", after=redis_files),
        Run(("systemctl", "enable", "--now", "--quiet", *layout.UNITS), "services start now and with the host"),
        Run(RESTART_RECEIVER, "the receiver loads its files", after=receiver_files),
        Run(
            ("systemctl", "restart", "--no-block", *layout.WORKERS),
            "workers load their files after a running deployment",
            after=worker_files,
        ),
    ]
    if any(file.path.is_relative_to(layout.NGINX) for file in files):
        changes += nginx_reload_commands()
    return [*changes, *fail2ban_commands(host), *_apparmor_commands(host)]


def fail2ban_commands(host: Host) -> list[Change]:
    """Build the command that makes fail2ban load hookd's files, or forget removed ones."""
    reload = ("systemctl", "try-reload-or-restart", "fail2ban.service")
    return [Run(reload, "fail2ban loads its files", after=(layout.FAIL2BAN,))] if host.has_fail2ban else []


def _apparmor_commands(host: Host) -> list[Change]:
    profiles = {layout.APPARMOR: "the receiver's profile", layout.APPARMOR_APPS: "the apps' profiles"}
    return [
        Run(("apparmor_parser", "--replace", str(path)), f"AppArmor loads {name}", after=(path,))
        for path, name in profiles.items()
        if host.loads_apparmor
    ]
