"""Facts of this host, read once before changes are built."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hookd.config import Config
from hookd.model.settings import Settings
from hookd.queue.client import find_redis_program
from units.system import layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run
from units.system.systemd import is_booted

OLDEST_SYSTEMD: Final = 252
_STRICT_SANDBOX: Final = 257


@dataclass(frozen=True)
class Host:
    """Facts that decide about the changes. `domain` is the receiver's public name."""

    systemd: int
    redis_program: Path
    memory_mib: int
    has_nginx: bool
    has_fail2ban: bool
    has_apparmor: bool
    has_selinux: bool
    loads_apparmor: bool = False
    domain: str | None = None
    certificates: frozenset[str] = frozenset()
    # The address for the certificate authority, if certbot shall obtain missing certificates.
    tls_mail: str | None = None
    git_protocols: tuple[str, ...] = ("https", "ssh")
    max_body: int = Settings().receiver.max_body
    history_days: int = Settings().history.days

    @property
    def has_strict_sandbox(self) -> bool:
        """Return True if a strict sandbox does not imply no_new_privs, which would break the worker's sudo."""
        return self.systemd >= _STRICT_SANDBOX


def missing_setup() -> HostError | None:
    """Return the error of a host without hookd, or without its configuration."""
    if not layout.CURRENT.exists():
        return HostError("hookd is not installed on this host", hint="sudo ./run install")
    if not layout.CONFIG.exists():
        return HostError("hookd is not set up on this host", hint="sudo hookd setup --domain deploy.example.org")
    return None


def read_host(config: Config | None, domain: str | None = None, tls_mail: str | None = None) -> Host:
    """Read the facts. `domain` and `tls_mail` replace those in hookd.toml."""
    settings = config.settings if config else Settings()
    public = settings.receiver.public_url
    return Host(
        systemd=systemd_version(),
        redis_program=find_redis_program("/usr/bin:/usr/sbin"),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2,
        has_nginx=shutil.which("nginx") is not None,
        has_fail2ban=Path("/etc/fail2ban/jail.d").is_dir(),
        has_apparmor=Path("/etc/apparmor.d").is_dir(),
        loads_apparmor=_loads_apparmor(),
        has_selinux=Path("/sys/fs/selinux/enforce").exists(),
        domain=domain or (urlsplit(public).hostname if public else None),
        certificates=read_certificates(),
        tls_mail=tls_mail or settings.tls.mail,
        git_protocols=config.settings.worker.git_protocols if config else ("https", "ssh"),
        max_body=settings.receiver.max_body,
        history_days=settings.history.days,
    )


def systemd_version() -> int:
    """Return the version of the running systemd, or 0."""
    try:
        found = re.search(r"systemd (\d+)", run(("systemctl", "--version")))
    except CommandFailed:
        return 0
    return int(found[1]) if found and is_booted() else 0


def _loads_apparmor() -> bool:
    """Return True if AppArmor is on and its loader is installed."""
    switch = Path("/sys/module/apparmor/parameters/enabled")
    on = switch.exists() and switch.read_text(encoding="ascii").strip() == "Y"
    return on and shutil.which("apparmor_parser") is not None


def read_certificates() -> frozenset[str]:
    """Return the domains with a certificate in certbot's directory."""
    try:
        return frozenset(path.name for path in layout.CERTIFICATES.iterdir() if (path / "fullchain.pem").exists())
    except OSError:
        return frozenset()
