"""MISSING"""

import secrets
from pathlib import Path
from typing import Final

from hookd.credentials import ROLES
from hookd.model.app import Catalogue
from units.plan.steps import (
    DAEMON_RELOAD,
    RESTART_RECEIVER,
    Directory,
    File,
    Group,
    Link,
    Plan,
    Run,
    Step,
    User,
    drop_in_directories,
    nginx_reload_steps,
)
from units.render.host import host_files
from units.render.redis_acl import acl
from units.system import disk, layout
from units.system.facts import Host

_PASSWORD_BYTES: Final = 24

ACCOUNTS: Final[Plan] = (
    Group(layout.QUEUE_GROUP),
    Group(layout.RECEIVER),
    Group(layout.WORKER),
    Group(layout.REDIS),
    Group(layout.WEB),
    User(layout.RECEIVER, layout.RECEIVER, Path("/nonexistent"), (layout.QUEUE_GROUP,)),
    # No home: what lay in one could be started for this user at boot, outside of the worker's sandbox.
    User(layout.WORKER, layout.WORKER, Path("/nonexistent"), (layout.WEB, layout.QUEUE_GROUP)),
    User(layout.REDIS, layout.REDIS, layout.REDIS_STATE),
    User(layout.WEB, layout.WEB, Path("/var/www")),
)

DIRECTORIES: Final[Plan] = (
    Directory(layout.ETC, "root", "root", 0o755),
    Directory(layout.APPS, "root", "root", 0o755),
    Directory(layout.FROZEN, "root", "root", 0o755),
    Directory(layout.ENVIRONMENTS, "root", "root", 0o755),
    Directory(layout.SECRETS, "root", "root", 0o700),
    Directory(layout.PASSWORDS, "root", "root", 0o700),
    Directory(layout.STATE, layout.WORKER, layout.WORKER, 0o700),
    Directory(layout.KEYS, layout.WORKER, layout.WORKER, 0o700),
    Directory(layout.LOGS, layout.WORKER, layout.RECEIVER, 0o2750),
    Directory(layout.REDIS_STATE, layout.REDIS, layout.REDIS, 0o700),
)


def host_plan(host: Host, catalogue: Catalogue) -> Plan:
    """Everything on the host that does not belong to one app."""
    files = host_files(host, catalogue)
    return (
        *ACCOUNTS,
        *DIRECTORIES,
        *_webroot(host),
        *_own_files(),
        *drop_in_directories(files),
        *files,
        *_reload_steps(host, files),
    )


def _webroot(host: Host) -> Plan:
    """Where certbot leaves what a certificate's issuer asks for."""
    return (Directory(layout.ACME, "root", "root", 0o755),) if host.has_nginx else ()


def _own_files() -> list[Step]:
    """Passwords and the token are made once and read back, so that a second run changes nothing."""
    passwords = {role: _existing_or_new(layout.PASSWORDS / role) for role in ROLES}
    return [
        *(File(layout.PASSWORDS / role, f"{password}\n", mode=0o600) for role, password in passwords.items()),
        File(layout.REDIS_ACL, acl(passwords), "root", layout.REDIS, 0o640),
        File(layout.TOKEN, f"{_existing_or_new(layout.TOKEN)}\n", mode=0o600),
        File(
            layout.KNOWN_HOSTS,
            "# ssh host keys of git hosts that are accepted; hookd app add puts them here.\n",
            once=True,
        ),
    ]


def _existing_or_new(path: Path) -> str:
    """The value that stands in a file, or a new one."""
    return (disk.read(path) or b"").decode().strip() or secrets.token_urlsafe(_PASSWORD_BYTES)


def _reload_steps(host: Host, files: tuple[File | Link, ...]) -> list[Step]:
    """Who must hear of a change, in the order in which they need each other."""
    unit = layout.SYSTEMD
    workers = tuple(layout.worker_unit(instance) for instance in layout.INSTANCES)
    drop_in = unit / "hookd-worker@.service.d"
    redis_files = (layout.REDIS_CONF, layout.REDIS_ACL, unit / "hookd-redis.service")
    receiver_files = (layout.CONFIG, layout.TOKEN, layout.PASSWORDS, unit / "hookd.service", unit / "hookd.socket")
    worker_files = (layout.CONFIG, layout.PASSWORDS, unit / "hookd-worker@.service", drop_in)
    timers = (layout.RECONCILE_TIMER, "hookd-doctor.timer")
    started = ("hookd-redis.service", "hookd.socket", "hookd.service", *workers, *timers)
    steps: list[Step] = [
        Run(DAEMON_RELOAD, "systemd reads the units", after=(unit,)),
        Run(("systemctl", "try-restart", "hookd-redis.service"), "Redis takes up its files", after=redis_files),
        Run(("systemctl", "enable", "--now", "--quiet", *started), "they run, now and after a reboot"),
        Run(RESTART_RECEIVER, "the receiver takes up its files", after=receiver_files),
        Run(
            ("systemctl", "restart", "--no-block", *workers),
            "workers take up their files when a deployment under way has ended",
            after=worker_files,
        ),
    ]
    if any(file.path.is_relative_to(layout.NGINX) for file in files):
        steps += nginx_reload_steps()
    return [*steps, *guard_reload_steps(host)]


def guard_reload_steps(host: Host) -> list[Step]:
    """The programs that watch over hookd take up its files, those that this host has."""
    steps: list[Step] = []
    if host.has_fail2ban:
        reload = ("systemctl", "try-reload-or-restart", "fail2ban.service")
        steps.append(Run(reload, "fail2ban takes up its files", after=(layout.FAIL2BAN,)))
    if host.loads_apparmor:
        replace = ("apparmor_parser", "--replace", str(layout.APPARMOR))
        steps.append(Run(replace, "AppArmor takes up the receiver's profile", after=(layout.APPARMOR,)))
    return steps
