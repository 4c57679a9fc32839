"""Paths, users, groups and units of a server."""

from pathlib import Path
from typing import Final

from hookd.model.units import backup, phases

RECEIVER: Final = "hookd"
WORKER: Final = "manager"
REDIS: Final = "hookd-redis"
WEB: Final = "www-data"
BUILDERS: Final = phases.BUILDERS
QUEUE_GROUP: Final = "hookd-queue"

CODE: Final = Path("/opt/hookd")
CURRENT: Final = CODE / "current"
COMMAND: Final = Path("/usr/local/bin/hookd")
PYTHON: Final = CURRENT / "venv" / "bin" / "python"
CODE_PATH: Final = CURRENT / "code"
IN_APP: Final = CODE_PATH / "units" / "in_app"
IN_RELEASE: Final = CODE_PATH / "units" / "in_release.sh"

ETC: Final = Path("/etc/hookd")
CONFIG: Final = ETC / "hookd.toml"
APPS: Final = ETC / "apps"
FROZEN: Final = ETC / "frozen"
# An operator's additions to the nginx sites of apps.
OWN_SITES: Final = ETC / "sites"
SECRETS: Final = ETC / "secrets"
PASSWORDS: Final = ETC / "redis"
ENVIRONMENTS: Final = ETC / "env"
TOKEN: Final = ETC / "token"
KNOWN_HOSTS: Final = ETC / "known_hosts"
WORKER_ENVIRONMENT: Final = ETC / "worker.env"
REDIS_CONF: Final = ETC / "redis.conf"
REDIS_ACL: Final = ETC / "redis.acl"

STATE: Final = Path("/var/lib/hookd")
KEYS: Final = STATE / "keys"
LOGS: Final = Path("/var/log/hookd")
REDIS_STATE: Final = Path("/var/lib/hookd-redis")
SETUP_STATE: Final = Path("/var/lib/hookd-setup")
MANIFEST: Final = SETUP_STATE / "manifest.json"
# Why domains have no certificate.
REFUSALS: Final = SETUP_STATE / "certificates.json"

REDIS_SOCKET: Final = Path("/run/hookd-redis/redis.sock")
RECEIVER_SOCKET: Final = Path("/run/hookd/receiver.sock")
SOCKETS: Final = Path("/run/hookd-apps")
PHASE_PIPES: Final = phases.PHASE_PIPES
BUILD_CACHE: Final = phases.BUILD_CACHE
BACKUPS: Final = backup.BACKUPS
# HOME of each app. systemd makes them below its directory for caches.
APP_HOMES: Final = Path("/var/cache/hookd-apps")

SYSTEMD: Final = Path("/etc/systemd/system")
TMPFILES: Final = Path("/etc/tmpfiles.d")
SUDOERS: Final = Path("/etc/sudoers.d")
NGINX: Final = Path("/etc/nginx")
SITES: Final = NGINX / "sites-available"
ENABLED_SITES: Final = NGINX / "sites-enabled"
# certbot's webroot and certificates.
ACME: Final = Path("/var/www/hookd-acme")
CERTIFICATES: Final = Path("/etc/letsencrypt/live")
RENEWALS: Final = Path("/etc/letsencrypt/renewal")
LOGROTATE: Final = Path("/etc/logrotate.d")
FAIL2BAN: Final = Path("/etc/fail2ban")
APPARMOR: Final = Path("/etc/apparmor.d/hookd-receiver")
# The profiles of all apps, each with this name and the app's.
APPARMOR_APPS: Final = Path("/etc/apparmor.d/hookd-apps")
APP_PROFILE: Final = "hookd-app"
SELINUX: Final = ETC / "selinux.fcontext"

RECONCILE: Final = "hookd-reconcile.service"
RECONCILE_TIMER: Final = "hookd-reconcile.timer"
WORKERS: Final = ("hookd-worker@1.service", "hookd-worker@2.service")
# Units that run and start with the host.
UNITS: Final = (
    "hookd-redis.service",
    "hookd.socket",
    "hookd.service",
    *WORKERS,
    RECONCILE_TIMER,
    "hookd-doctor.timer",
)


def app_root(app: str) -> Path:
    """Return the default directory of an app's releases."""
    return Path("/srv") / app


def app_data(app: str) -> Path:
    """Return the default directory of an app's own data."""
    return Path("/var/lib") / app


def app_file(app: str) -> Path:
    return APPS / f"{app}.toml"


def own_site(app: str) -> Path:
    """Return the file with an operator's additions to an app's site."""
    return OWN_SITES / f"{app}.conf"


def app_environment(app: str) -> Path:
    """Return the file of the app's variables, for its service, its checks and its release commands."""
    return ENVIRONMENTS / app


def build_environment(app: str) -> Path:
    """Return the file of the variables of the app's builds. No app's name has a dot."""
    return ENVIRONMENTS / f"{app}.build"


def app_secret(app: str) -> Path:
    return SECRETS / app


def deploy_key(app: str) -> Path:
    """Return the private key for the app's repository. The public key lies beside it."""
    return KEYS / app


def sudoers(app: str) -> Path:
    """Return the app's sudoers file. sudo ignores names with a dot, which app names never have."""
    return SUDOERS / f"hookd-{app}"


def tmpfiles(app: str) -> Path:
    """Return the file that makes the places of the app's phases below /run."""
    return TMPFILES / f"hookd-{app}.conf"


def phase_places(app: str) -> tuple[Path, ...]:
    """Return what the app and its phases leave outside of its directories."""
    files = (PHASE_PIPES / f"{app}{end}" for end in ("", ".plan", ".in-use"))
    return (APP_HOMES / app, BUILD_CACHE / app, *files)


def app_scope(app: str) -> str:
    """Return the app's scope in the manifest."""
    return f"app:{app}"
