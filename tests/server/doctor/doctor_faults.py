"""Faults for a server, each with the finding of `hookd doctor` that must report it."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Fault:
    """A command that breaks the server, and the finding that reports it.

    `repair` replaces a hint that is no plain command. `also` are other checks that may see the fault.
    """

    plant: str
    check: str
    message: str
    level: str = "error"
    app: str | None = None
    repair: str | None = None
    also: frozenset[str] = field(default_factory=frozenset)

    @property
    def place(self) -> str:
        """The check that reports the fault, with its app."""
        return f"{self.check} {self.app or ''}".strip()

    @property
    def places(self) -> set[str]:
        """All checks that may report the fault, for the host and for the app."""
        return {self.place} | {f"{one} {app}".strip() for one in self.also for app in ("", "shop")}


def also(*checks: str) -> frozenset[str]:
    return frozenset(checks)


def redis(role: str, *command: str) -> str:
    """Build a command line that sends a command to Redis as one of hookd's users."""
    login = f"unix_socket_path='/run/hookd-redis/redis.sock', username='hookd-{role}', password=sys.argv[1]"
    code = f"import sys, redis; reply = redis.Redis({login}).execute_command(*sys.argv[2:]); print(reply)"
    return f'/opt/hookd/current/venv/bin/python -Pc "{code}" "$(cat /etc/hookd/redis/{role})" {" ".join(command)}'


CODE: Final = "/opt/hookd/current/code/worker/job.py"
DROP_IN: Final = "/run/systemd/system/hookd-worker@1.service.d"
RELOAD: Final = "systemctl daemon-reload; systemctl restart hookd-worker@1.service"

DROP_INS: Final = "/run/systemd/system/hookd-reconcile.service.d"
SITE: Final = "/etc/nginx/sites-available/hookd"
WORKERS: Final = ("hookd-worker@1.service", "hookd-worker@2.service")

FAULTS: Final = {
    "the worker has an extra group": Fault(
        "gpasswd --add manager adm", "accounts", "manager must not be in the group adm"
    ),
    "the app's unit runs as root": Fault(
        "mkdir -p /run/systemd/system/shop-blue.service.d;"
        " printf '[Service]\\nUser=\\n' > /run/systemd/system/shop-blue.service.d/x.conf; systemctl daemon-reload",
        "separation", "shop-blue.service runs as root, and so would each push", app="shop",
        repair="rm -r /run/systemd/system/shop-blue.service.d; systemctl daemon-reload",
    ),
    "the app's user is in a powerful group": Fault(
        "gpasswd --add www-data systemd-journal", "separation", "www-data is in the group systemd-journal", app="shop",
        repair="gpasswd --delete www-data systemd-journal",
    ),
    "www-data is in the queue's group": Fault(
        "gpasswd --add www-data hookd-queue", "accounts", "www-data must not be in the group hookd-queue",
        also=also("separation"),
    ),
    "the receiver's user lacks its group": Fault(
        "gpasswd --delete hookd hookd-queue", "setup", "the user hookd is missing or not in hookd-queue"
    ),
    "the worker has a login": Fault(
        "usermod --shell /bin/bash manager", "accounts", "manager can log in with /bin/bash"
    ),
    "the worker's user lingers": Fault(
        "mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/manager",
        "accounts", "manager may linger", repair="rm /var/lib/systemd/linger/manager",
    ),
    "the token is open": Fault(
        "chmod 0644 /etc/hookd/token", "setup", "/etc/hookd/token is not root:root 0600"
    ),
    "the state is open": Fault(
        "chmod 0755 /var/lib/hookd", "setup", "/var/lib/hookd is not manager:manager 0700"
    ),
    "hookd's code can be written": Fault(f"chmod 0666 {CODE}", "files", "worker/job.py is writable by others"),
    "hookd's code belongs to the worker": Fault(f"chown manager {CODE}", "files", "worker/job.py belongs to manager"),
    "hookd's code was changed": Fault(
        f"cp -p {CODE} /root/job.py; echo '# x' >> {CODE}",
        "code",
        "changed after the installation",
        "warning",
        repair=f"mv /root/job.py {CODE}",
    ),
    "the webhook secret is gone": Fault(
        "rm /etc/hookd/secrets/shop", "files", "shop has no webhook secret", app="shop", also=also("setup")
    ),
    "the deploy key is open": Fault(
        "chmod 0644 /var/lib/hookd/keys/shop", "files", "/var/lib/hookd/keys/shop is open to others", app="shop",
        also=also("git", "permissions"),
    ),
    "a shared file is gone": Fault(
        "mv /srv/shop/shared/.env /root/env", "setup", "/srv/shop/shared/.env is missing", app="shop",
        repair="mv /root/env /srv/shop/shared/.env", also=also("permissions"),
    ),
    "root owns files of the release": Fault(
        "chown root /srv/shop/current/wsgi.py /srv/shop/current/requirements.txt",
        "permissions", "2 paths violate the policy", "warning", app="shop",
    ),
    "sudo's line for a verb is gone": Fault(
        "sed -i '/systemctl start/d' /etc/sudoers.d/hookd-shop", "sudo", "the worker may not run `sudo", app="shop",
        also=also("setup"),
    ),
    "the worker may do everything": Fault(
        "echo 'manager ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz; chmod 0440 /etc/sudoers.d/zz",
        "sudo", "the worker may run `sudo /bin/sh`", repair="rm /etc/sudoers.d/zz", also=also("sudo shop"),
    ),
    "sudo's files have a mistake": Fault(
        "echo 'manager ALL' > /etc/sudoers.d/zz; chmod 0440 /etc/sudoers.d/zz",
        "sudo", "sudo rejects its configuration", repair="rm /etc/sudoers.d/zz", also=also("sudo shop", "versions"),
    ),
    "the worker's unit forbids sudo": Fault(
        f"mkdir -p {DROP_IN}; printf '[Service]\\nNoNewPrivileges=yes\\n' > {DROP_IN}/x.conf; {RELOAD}",
        "sudo", "hookd-worker@1.service runs with NoNewPrivileges", repair=f"rm {DROP_IN}/x.conf; {RELOAD}",
        also=also("queue"),  # systemd calls the worker started seconds before it is connected to Redis.
    ),
    "Redis is down": Fault(
        "systemctl stop hookd-redis.service", "redis", "Redis does not answer at",
        also=also("services", "answers", "queue", "deployments shop"),
    ),
    "Redis keeps nothing": Fault(
        "sed -i 's/^appendonly yes/appendonly no/' /etc/hookd/redis.conf; systemctl restart hookd-redis.service",
        "redis", "a restart loses waiting deployments",
        also=also("setup", "queue", "deployments shop"),
    ),
    "a password of Redis was changed": Fault(
        "echo other > /etc/hookd/redis/worker", "redis", "Redis rejected the password of hookd-worker",
        also=also("setup"),
    ),
    "Redis denied a command": Fault(
        f"! {redis('receiver', 'FLUSHALL')}",
        "redis", "'hookd-receiver', command 'flushall'", "warning", repair=redis("operator", "ACL LOG", "RESET"),
    ),
    "the queue is suspended": Fault(
        "runuser -u manager -- sh -c '. /var/lib/hookd/rq.env && rq suspend'", "queue", "the queue is suspended"
    ),
    "a worker is gone": Fault(
        "systemctl disable hookd-worker@2.service", "services", "hookd-worker@2.service does not start", "warning"
    ),
    "no worker runs": Fault(
        f"systemctl stop {' '.join(WORKERS)}", "queue", "no worker is connected", also=also("services")
    ),
    "a worker fails repeatedly": Fault(
        f"mkdir -p {DROP_IN}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {DROP_IN}/x.conf\n"
        f"{RELOAD} || true",  # It may have failed before systemctl looks.
        "services", "hookd-worker@1.service ",
        repair=f"rm {DROP_IN}/x.conf; systemctl reset-failed hookd-worker@1.service; {RELOAD}",
        also=also("queue"),
    ),
    "the receiver is stopped": Fault("systemctl stop hookd.service", "services", "hookd.service is not running"),
    "a unit's file was changed": Fault(
        "touch -d '+1 second' /etc/systemd/system/hookd.service",
        "services", "systemd runs the old file", "warning",
    ),
    "the reconcile timer is off": Fault(
        "systemctl stop hookd-reconcile.timer", "services", "hookd-reconcile.timer is not running"
    ),
    "reconciliation fails": Fault(
        f"mkdir -p {DROP_INS}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {DROP_INS}/x.conf;"
        " systemctl daemon-reload; ! systemctl start hookd-reconcile.service",
        "services", "hookd-reconcile.service failed (exit-code)",
        repair=f"rm {DROP_INS}/x.conf; systemctl daemon-reload; systemctl start hookd-reconcile.service",
    ),
    "an app is never reconciled": Fault(
        "hookd app edit shop --set reconcile.every=0", "git", "shop is never reconciled", "warning", app="shop"
    ),
    "nginx is down": Fault("systemctl stop nginx.service", "nginx", "nginx.service is not running"),
    "nginx takes small bodies only": Fault(
        f"sed -i 's/client_max_body_size .*/client_max_body_size 1m;/' {SITE}",
        "setup", f"{SITE} has another text", "warning",
    ),
    "nginx' files have a mistake": Fault(
        "echo 'server {' > /etc/nginx/conf.d/zz.conf", "nginx", "nginx rejects its configuration",
        repair="rm /etc/nginx/conf.d/zz.conf",
    ),
    "the app is stopped": Fault("hookd stop shop", "services", "shop is stopped", "warning", app="shop"),
    "the logs' disk is full": Fault(
        "mount -t tmpfs -o size=20m,mode=2750,uid=$(id -u manager),gid=$(id -g hookd) none /var/log/hookd",
        "space", "/var/log/hookd has 20 MiB free", repair="umount /var/log/hookd",
    ),
    "an app's file cannot be used": Fault(
        "cp -p /etc/hookd/apps/shop.toml /root/; echo 'colour = 1' >> /etc/hookd/apps/shop.toml",
        "configuration", "/etc/hookd/apps/shop.toml", repair="mv /root/shop.toml /etc/hookd/apps/", also=also("setup"),
    ),
    "hookd.toml cannot be used": Fault(
        "cp -p /etc/hookd/hookd.toml /root/; echo 'colour = 1' >> /etc/hookd/hookd.toml",
        "configuration", "/etc/hookd/hookd.toml", repair="mv /root/hookd.toml /etc/hookd/",
        also=also("answers", "certificates", "redis", "queue", "nginx", "separation", "setup", "space"),
    ),
}  # fmt: skip

# Faults that do not hide each other and whose repairs do not need each other. They are planted in this order.
TOGETHER: Final = {
    "accounts": (
        "an app is never reconciled",  # The first, because `hookd app edit` repairs files of the set-up.
        "the worker has an extra group", "the app's unit runs as root", "the worker has a login",
        "the worker's user lingers", "hookd's code can be written", "nginx takes small bodies only",
    ),
    "files": (
        "the token is open", "the state is open", "the receiver's user lacks its group", "the webhook secret is gone",
        "hookd's code belongs to the worker", "root owns files of the release", "a worker is gone",
    ),
    "deployments": (
        "hookd's code was changed", "the deploy key is open", "a shared file is gone",
        "sudo's line for a verb is gone", "the worker's unit forbids sudo",
    ),
    "services": (
        "the worker may do everything", "Redis denied a command", "the queue is suspended", "the app is stopped",
        "a unit's file was changed", "nginx' files have a mistake",
    ),
    "system": (
        "sudo's files have a mistake", "nginx is down", "the reconcile timer is off", "the logs' disk is full",
    ),
    # `hookd app edit` refuses an app whose user has power.
    "hookd": (
        "the receiver is stopped", "reconciliation fails", "the app's user is in a powerful group",
        "www-data is in the queue's group",
    ),
}  # fmt: skip
_GROUPED: Final = {name for names in TOGETHER.values() for name in names}
# Every other fault is alone.
ROUNDS: Final = {**TOGETHER, **{name: (name,) for name in FAULTS if name not in _GROUPED}}
