"""certbot: its installation, a certificate for one domain, and the reason why there is none.

certbot proves a domain by a file below the site's own webroot, so it changes nothing of nginx. Its timer renews.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from hookd.model.app import App
from hookd.model.text import printable, truncate
from units.system import disk, layout
from units.system.errors import HostError, Reason
from units.system.facts import Host
from units.system.run import ENVIRONMENT, CommandFailed, run, succeeds

_INSTALL: Final = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "certbot")
_INSTALL_SECONDS: Final = 600
_OBTAIN_SECONDS: Final = 300
_MAX_DETAIL: Final = 200
_AGAIN: Final = "sudo hookd certify"
_SHOW_LOG: Final = "sudo tail -n 50 /var/log/letsencrypt/letsencrypt.log"
# The problem that certbot prints for a domain, by the types of RFC 8555, 6.7.
_PROBLEM: Final = re.compile(r"^ *Type: +(?P<kind>\w+)\n *Detail: +(?P<detail>.+)$", re.MULTILINE)
# Authorities without Let's Encrypt's program report DNS as a failed connection.
_DNS: Final = re.compile(r"\bDNS\b|NXDOMAIN|SERVFAIL|no such host|\blookup\b|no valid IP address", re.IGNORECASE)
_RATE_LIMIT: Final = re.compile(r"^.*(?:too many|rate.?limit).*$", re.IGNORECASE | re.MULTILINE)
# The cause of each type, and the next step.
_CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "dns": ("DNS knows no address of {domain}", f"{_AGAIN}  # once DNS leads {{domain}} to this host"),
    "unauthorized": (
        "another server answers at {domain}",
        f"{_AGAIN}  # once DNS leads {{domain}} to this host, also its AAAA record",
    ),
    "connection": (
        "nothing answers at port 80 of {domain}",
        f"{_AGAIN}  # once the firewall lets port 80 in, and DNS leads {{domain}} to this host",
    ),
    "caa": ("a CAA record of {domain} forbids this authority", f"{_AGAIN}  # once the record allows it"),
    "rateLimited": ("the authority has a rate limit for {domain}", f"{_AGAIN}  # hookd tries twice a day by itself"),
}


@dataclass(frozen=True)
class Refusal:
    """The reason why a domain got no certificate. `kind` is a type of RFC 8555, or "other"."""

    kind: str
    detail: str
    at: str

    def reason(self, domain: str) -> Reason:
        """Return the cause and the next command."""
        cause, hint = _CAUSES.get(self.kind, ("certbot got no certificate for {domain}", f"{_SHOW_LOG}; {_AGAIN}"))
        return Reason(f"{cause.format(domain=domain)}: {self.detail}", hint.format(domain=domain))


def is_installed() -> bool:
    """Return True if this host has certbot."""
    return shutil.which("certbot", path=ENVIRONMENT["PATH"]) is not None


def install() -> None:
    """Install Debian's package. Raises HostError without apt-get, and CommandFailed."""
    if shutil.which("apt-get") is None:
        raise HostError("certbot is not installed, and there is no apt-get", hint="your package manager: certbot")
    if not succeeds(_INSTALL, seconds=_INSTALL_SECONDS):
        run(("apt-get", "update", "--quiet"), seconds=_INSTALL_SECONDS)  # A list may be missing or old.
        run(_INSTALL, seconds=_INSTALL_SECONDS)


def missing_domains(host: Host, apps: Iterable[App]) -> tuple[str, ...]:
    """Return the domains for which certbot shall obtain a certificate."""
    if host.tls_mail is None or not host.has_nginx:
        return ()
    domains = dict.fromkeys((host.domain, *(app.site.domain for app in apps if app.site.tls)))
    return tuple(domain for domain in domains if domain and domain not in host.certificates)


def obtain_command(domain: str, mail: str) -> tuple[str, ...]:
    """Return certbot's command. Both values are root's, from the configuration."""
    proof = ("--webroot", "--webroot-path", str(layout.ACME))
    account = ("--email", mail, "--agree-tos", "--no-eff-email")
    # certbot keeps it for each renewal. nginx ends running requests in its old processes.
    reload = ("--deploy-hook", "systemctl reload nginx.service")
    name = ("--domain", domain, "--cert-name", domain)
    return ("certbot", "certonly", "--non-interactive", *proof, *account, *reload, *name)


def obtain(domain: str, mail: str) -> Refusal | None:
    """Obtain a certificate and record the result. Return the reason of a failure, or None."""
    refusal = None
    try:
        run(obtain_command(domain, mail), seconds=_OBTAIN_SECONDS)
    except CommandFailed as failed:
        refusal = read_refusal(failed.output or str(failed), datetime.now(UTC))
    kept = {name: known for name, known in refusals().items() if name != domain}
    found = {**kept, **({domain: refusal} if refusal else {})}
    text = json.dumps({name: asdict(value) for name, value in found.items()}, indent=2)
    disk.write(layout.REFUSALS, text.encode(), disk.SECRET)
    return refusal


def read_refusal(output: str, now: datetime) -> Refusal:
    """Read the reason of a failure in certbot's output."""
    at = now.isoformat(timespec="minutes")
    if problem := _PROBLEM.search(output):
        is_dns = problem["kind"] == "connection" and _DNS.search(problem["detail"])
        return Refusal("dns" if is_dns else problem["kind"], _one_line(problem["detail"]), at)
    if limit := _RATE_LIMIT.search(output):
        return Refusal("rateLimited", _one_line(limit[0]), at)
    lines = [line for line in output.splitlines() if line and not line.startswith(("Saving debug", "Ask for help"))]
    return Refusal("other", _one_line(lines[-1] if lines else "it printed nothing"), at)


def _one_line(text: str) -> str:
    return truncate(printable(" ".join(text.split())), _MAX_DETAIL)


def refusals() -> dict[str, Refusal]:
    """Return the recorded reasons by domain. Only root can read them."""
    try:
        table = json.loads(disk.read(layout.REFUSALS) or b"{}")
        return {domain: Refusal(**values) for domain, values in table.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
