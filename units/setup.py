"""`hookd setup` and `hookd certify`: set up the host, and bring its sites to HTTPS. Can be repeated."""

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

import tomlkit
from pydantic import ValidationError

from hookd.config import from_validation, load
from hookd.model.catalogue import Catalogue
from hookd.model.settings import TlsSettings
from hookd.model.tables.site import Site
from units.apps.accounts.rules import ownership_conflicts
from units.apps.accounts.unit_users import existing_unit_problems
from units.apps.conflicts import domain_conflicts
from units.apps.manage import Server
from units.changes.apply import Echo, Installer
from units.changes.change import RESTART_RECEIVER, Run, nginx_reload_commands
from units.changes.manifest import HOST, Manifest
from units.host import certbot
from units.host.changes import host_changes
from units.render.app import app_site
from units.render.host import receiver_site
from units.system import disk, layout
from units.system.errors import Refused
from units.system.facts import OLDEST_SYSTEMD, Host, read_certificates, read_host


def set_up(domain: str | None, tls_mail: str | None, echo: Echo, *, dry_run: bool) -> None:
    """Set up this host, and print the result. Raises HostError, Refused, CommandFailed."""
    host, catalogue = check_host(domain, tls_mail)
    manifest = Manifest.load(layout.MANIFEST)
    changes = host_changes(host, catalogue)
    installer = Installer(manifest, HOST, echo, dry_run=dry_run)
    installer.check(changes)
    changed = installer.apply(changes)
    if dry_run:
        return
    if _write_settings(host, manifest):
        changed += 1 + installer.apply(changes)
    echo(_result(host, changed))


def check_host(domain: str | None, tls_mail: str | None = None) -> tuple[Host, Catalogue]:
    """Return the host's facts and apps. Raises Refused if it cannot be a server."""
    config = load(layout.CONFIG) if layout.CONFIG.exists() else None
    host = read_host(config, domain, tls_mail)
    catalogue = config.catalogue if config else Catalogue()
    hint = None
    reasons = [*_domain_reasons(host.domain, catalogue), *_mail_reasons(host.tls_mail)]
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


def _mail_reasons(mail: str | None) -> Iterable[str]:
    try:
        TlsSettings(mail=mail)
    except ValidationError as error:
        yield from map(str, from_validation("--tls", error))


def _write_settings(host: Host, manifest: Manifest) -> bool:
    """Write the receiver's public URL and the mail address into hookd.toml, and return True if one changed.

    A new domain or a first certificate changes the URL. Other lines and comments stay.
    """
    before = layout.CONFIG.read_text(encoding="utf-8")
    document = tomlkit.parse(before)
    if host.domain is not None:
        receiver = document.setdefault("receiver", tomlkit.table())
        known = urlsplit(str(receiver.get("public_url", "")))
        is_encrypted = host.domain in host.certificates
        # A person may have added a port, or https from a proxy in front of this host.
        if known.hostname != host.domain or (known.scheme != "https" and is_encrypted):
            receiver["public_url"] = f"{'https' if is_encrypted else 'http'}://{host.domain}"
    if host.tls_mail is not None:
        document.setdefault("tls", tomlkit.table())["mail"] = host.tls_mail
    after = tomlkit.dumps(document)
    if after == before:
        return False
    manifest.add_pending(RESTART_RECEIVER)
    disk.write(layout.CONFIG, after.encode(), disk.PUBLIC)
    return True


def certify(server: Server, echo: Echo, *, only: str | None = None) -> bool:
    """Obtain missing certificates, or that of `only` one domain, and serve all sites that have one by HTTPS.

    Return False if one is still missing. Its site then stays at plain HTTP. Raises CommandFailed.
    """
    missing = certbot.missing_domains(server.host, server.catalogue.apps)
    wanted = [domain for domain in missing if only in (None, domain)]
    if wanted and not certbot.is_installed():
        echo(f"certbot is not installed\n  next: sudo hookd setup --tls {server.host.tls_mail}")
        return False
    refused = [domain for domain in wanted if not _obtain(domain, str(server.host.tls_mail), echo)]
    serve_certificates(replace(server, host=replace(server.host, certificates=read_certificates())), echo)
    return not refused


def _obtain(domain: str, mail: str, echo: Echo) -> bool:
    echo(f"certificate for {domain}, up to a minute:")
    refusal = certbot.obtain(domain, mail)
    if refusal is None:
        echo("  obtained, certbot's timer renews it")
        return True
    reason = refusal.reason(domain)
    echo(f"  {reason.cause}\n  the site stays at http\n  next: {reason.hint}")
    return False


def serve_certificates(server: Server, echo: Echo) -> None:
    """Bring all sites to the host's certificates. Sites that have not changed stay."""
    sites = {HOST: receiver_site(server.host)}
    sites |= {layout.app_scope(app.name): app_site(app, server.host) for app in server.catalogue.apps}
    for scope, files in sites.items():
        if server.manifest.of(scope, "file"):
            Installer(server.manifest, scope, echo).apply((*files, *nginx_reload_commands()))
    if _write_settings(server.host, server.manifest):
        restart = Run(RESTART_RECEIVER, "the receiver loads its public URL", after=(layout.CONFIG,))
        Installer(server.manifest, HOST, echo).apply((restart,))


def _result(host: Host, changed: int) -> str:
    done = f"{changed} change{'s' if changed > 1 else ''} made" if changed else "nothing to change"
    if host.domain is None:
        return f"{done}\n  next: sudo hookd setup --domain deploy.example.org"
    return f"{done}\n  next: sudo hookd app add NAME --repo git@HOST:OWNER/NAME.git"
