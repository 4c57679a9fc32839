"""`hookd setup`: brings the host to its plan. Can be repeated at any time."""

from collections.abc import Iterable
from urllib.parse import urlsplit

import tomlkit
from pydantic import ValidationError

from hookd.config import from_validation, load
from hookd.model.catalogue import Catalogue
from hookd.model.site import Site
from units.apps.account_rules import ownership_conflicts
from units.apps.conflicts import domain_conflicts
from units.apps.unit_users import existing_unit_problems
from units.host.plan import host_plan
from units.plan.apply import Echo, Installer
from units.plan.manifest import HOST, Manifest
from units.plan.steps import RESTART_RECEIVER
from units.system import disk, layout
from units.system.errors import Refused
from units.system.facts import OLDEST_SYSTEMD, Host, read_host


def set_up(domain: str | None, echo: Echo, *, dry_run: bool) -> None:
    """Bring this host to its plan, and print the result. Raises HostError, Refused, CommandFailed."""
    host, catalogue = check_host(domain)
    manifest = Manifest.load(layout.MANIFEST)
    plan = host_plan(host, catalogue)
    installer = Installer(manifest, HOST, echo, dry_run=dry_run)
    installer.check(plan)
    changed = installer.apply(plan)
    if dry_run:
        return
    if _write_public_url(host, manifest):
        changed += 1 + installer.apply(plan)
    echo(_result(host, changed))


def check_host(domain: str | None) -> tuple[Host, Catalogue]:
    """Return the host's facts and apps. Raises Refused if it cannot be a server."""
    config = load(layout.CONFIG) if layout.CONFIG.exists() else None
    host = read_host(config, domain)
    catalogue = config.catalogue if config else Catalogue()
    hint = None
    reasons = list(_domain_reasons(host.domain, catalogue))
    if host.systemd < OLDEST_SYSTEMD:
        reasons.append(f"systemd {OLDEST_SYSTEMD} or newer is needed, found: {host.systemd or 'none'}")
    if not layout.PYTHON.exists():
        reasons.append(f"hookd is not installed in {layout.CODE}")
        hint = "sudo ./run install"
    if host.domain and not host.has_nginx:
        reasons.append("nginx is not installed")
        hint = hint or "sudo apt-get install nginx"
    for app in catalogue.apps:
        reasons += [f"{app.name}: {problem}" for problem in ownership_conflicts(app.ownership)]
        reasons += map(str, existing_unit_problems(app) if host.systemd else ())
    if reasons:
        raise Refused(reasons, hint=hint)
    return host, catalogue


def _domain_reasons(domain: str | None, catalogue: Catalogue) -> Iterable[str]:
    if domain is None:
        return
    try:
        Site(domain=domain)
    except ValidationError as error:
        yield from map(str, from_validation("--domain", error))
    else:
        yield from domain_conflicts(domain, catalogue.apps, "hookd")


def _write_public_url(host: Host, manifest: Manifest) -> bool:
    """Write the receiver's public URL into hookd.toml, and return True if it changed.

    A new domain or a first certificate changes it. Other lines and comments stay.
    """
    if host.domain is None:
        return False
    document = tomlkit.parse(layout.CONFIG.read_text(encoding="utf-8"))
    receiver = document.setdefault("receiver", tomlkit.table())
    known = urlsplit(str(receiver.get("public_url", "")))
    if known.hostname == host.domain and (known.scheme == "https" or host.domain not in host.certificates):
        return False  # A person may have added a port, or https from a proxy in front of this host.
    receiver["public_url"] = f"{'https' if host.domain in host.certificates else 'http'}://{host.domain}"
    manifest.add_pending(RESTART_RECEIVER)
    disk.write(layout.CONFIG, tomlkit.dumps(document).encode(), disk.PUBLIC)
    return True


def _result(host: Host, changed: int) -> str:
    done = f"{changed} change{'s' if changed > 1 else ''} made" if changed else "nothing to change"
    if host.domain is None:
        return f"{done}\n  next: sudo hookd setup --domain deploy.example.org"
    return f"{done}\n  next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git"
