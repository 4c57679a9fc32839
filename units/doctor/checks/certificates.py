"""Certificates: each site that wants HTTPS has one, certbot's timer runs, and none is about to end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from hookd.model.app import App
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, unknown, warning
from units.host import certbot
from units.system import disk, layout
from units.system.facts import Host, read_host
from units.system.systemd import read_units

_TIMER: Final = "certbot.timer"
# certbot renews 30 days before the end, so something is wrong then.
_SOON: Final = timedelta(days=14)


def check(context: HostContext) -> Iterator[Finding]:
    """Check certbot and the certificate of the receiver's site."""
    context.require_root("read certificates")
    host = read_host(context.config)
    if host.tls_mail is not None:
        yield from _check_certbot(host.tls_mail)
    if host.domain is not None:
        yield from check_domain(host, host.domain, context.now)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check the certificate of the app's site."""
    if app.site.domain is None or not app.site.tls:
        return
    context.require_root("read certificates")
    yield from check_domain(read_host(context.config), app.site.domain, context.now)


def _check_certbot(mail: str) -> Iterator[Finding]:
    if not certbot.is_installed():
        yield warning("certbot is not installed: nothing renews certificates", f"sudo hookd setup --tls {mail}")
    elif not read_units([_TIMER])[_TIMER].is_up:
        yield warning(f"{_TIMER} does not run: nothing renews certificates", f"sudo systemctl enable --now {_TIMER}")


def check_domain(host: Host, domain: str, now: datetime) -> Iterator[Finding]:
    """Check that a domain has a certificate, if certbot shall obtain it, and the certificate's end."""
    if domain in host.certificates:
        yield from _check_end(domain, now)
    elif host.tls_mail is not None:
        refusal = certbot.refusals().get(domain)
        if refusal is None:
            yield warning(f"{domain} has no certificate yet", "sudo hookd certify")
        else:
            reason = refusal.reason(domain)
            yield warning(f"{reason.cause} (tried {refusal.at})", reason.hint)


def _check_end(domain: str, now: datetime) -> Iterator[Finding]:
    path = layout.CERTIFICATES / domain / "fullchain.pem"
    try:
        end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as failure:
        yield unknown(f"{path} cannot be read: {failure}", f"sudo openssl x509 -noout -in {path}")
        return
    is_renewed = disk.status(layout.RENEWALS / f"{domain}.conf") is not None
    hint = f"sudo certbot renew --cert-name {domain}" if is_renewed else f"replace the files in {path.parent}"
    days = (end - now).days
    if end <= now:
        yield error(f"the certificate of {domain} ended on {end:%Y-%m-%d}", hint)
    elif end - now < _SOON:
        yield warning(f"the certificate of {domain} ends in {days} days", hint)
    else:
        yield ok(f"the certificate of {domain} is valid for {days} days")
