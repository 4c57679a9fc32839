"""The plan of the host without its apps: users, directories, passwords, units and files, and their reloads."""

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
    PlanStep,
    Run,
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
    # No home: systemd could start a user unit from it at boot, outside of the worker's sandbox.
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
    """Build the plan of everything that belongs to no single app."""
    files = host_files(host, catalogue)
    return (
        *ACCOUNTS,
        *DIRECTORIES,
        *((Directory(layout.ACME, "root", "root", 0o755),) if host.has_nginx else ()),
        *_own_files(),
        *drop_in_directories(files),
        *files,
        *_reload_steps(host, files),
    )


def _own_files() -> list[PlanStep]:
    """Build the files of passwords and of the token. Existing values are kept."""
    passwords = {role: _existing_or_new(layout.PASSWORDS / role) for role in ROLES}
    return [
        *(File(layout.PASSWORDS / role, f"{password}\n", mode=0o600) for role, password in passwords.items()),
        File(layout.REDIS_ACL, acl(passwords), "root", layout.REDIS, 0o640),
        File(layout.TOKEN, f"{_existing_or_new(layout.TOKEN)}\n", mode=0o600),
        File(
            layout.KNOWN_HOSTS,
            "# Accepted ssh host keys of git hosts. `hookd app add` writes them.\n",
            existing="keep",
        ),
    ]


def _existing_or_new(path: Path) -> str:
    """Return the value in a file, or a new one."""
    return (disk.read(path) or b"").decode().strip() or secrets.token_urlsafe(_PASSWORD_BYTES)


def _reload_steps(host: Host, files: tuple[File | Link, ...]) -> list[PlanStep]:
    """Build the commands that follow a change, in the order of the services' dependencies."""
    unit = layout.SYSTEMD
    workers = tuple(layout.worker_unit(instance) for instance in layout.INSTANCES)
    drop_in = unit / "hookd-worker@.service.d"
    redis_files = (layout.REDIS_CONF, layout.REDIS_ACL, unit / "hookd-redis.service")
    receiver_files = (layout.CONFIG, layout.TOKEN, layout.PASSWORDS, unit / "hookd.service", unit / "hookd.socket")
    worker_files = (layout.CONFIG, layout.PASSWORDS, unit / "hookd-worker@.service", drop_in)
    timers = (layout.RECONCILE_TIMER, "hookd-doctor.timer")
    started = ("hookd-redis.service", "hookd.socket", "hookd.service", *workers, *timers)
    steps: list[PlanStep] = [
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


def guard_reload_steps(host: Host) -> list[PlanStep]:
    """Build the commands that make fail2ban and AppArmor load hookd's files."""
    steps: list[PlanStep] = []
    if host.has_fail2ban:
        reload = ("systemctl", "try-reload-or-restart", "fail2ban.service")
        steps.append(Run(reload, "fail2ban takes up its files", after=(layout.FAIL2BAN,)))
    if host.loads_apparmor:
        replace = ("apparmor_parser", "--replace", str(layout.APPARMOR))
        steps.append(Run(replace, "AppArmor takes up the receiver's profile", after=(layout.APPARMOR,)))
    return steps
