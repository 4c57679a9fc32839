"""Endpoints: health pages of receiver and apps, directly and through nginx, and nginx's own configuration.

Only running services are probed, because a request to a stopped one would start it through its socket.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hookd.http_probe import Address, NoAnswer, parse_address, parse_health_url, request_status
from hookd.model.app import App
from hookd.model.journal import AppState
from units.apps.plan import units_of
from units.doctor.checks.services import check_unit, main_unit
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, unknown
from units.render.app_paths import listen_address
from units.system.nginx_config import ProxyTarget, parse, proxy_targets
from units.system.run import CommandFailed, run

_SECONDS: Final = 5.0
_NGINX: Final = Address(port=80)
_NGINX_UNIT: Final = "nginx.service"
_NGINX_PROGRAMS: Final = (Path("/usr/sbin/nginx"), Path("/usr/bin/nginx"))
_GATEWAY_ERRORS: Final = (500, 502, 503, 504)


@dataclass(frozen=True)
class HttpProbe:
    """One GET request and its expected status."""

    target: str
    address: Address
    page: str
    host: str = "localhost"
    status: int = 200
    seconds: float = _SECONDS


def check(context: HostContext) -> Iterator[Finding]:
    """Probe the receiver on its own socket and through nginx."""
    if not context.unit("hookd.service").is_up:
        yield ok("the receiver is stopped and was not probed")  # The services check reports the error.
        return
    settings = context.settings.receiver
    hint = "journalctl --unit hookd.service --lines 50; sudo systemctl restart hookd.service"
    for page, target in (("/healthz", "the receiver"), ("/readyz", "the receiver's Redis check")):
        yield _run_probe(HttpProbe(target, parse_address(settings.bind), page), hint)
    public = urlsplit(settings.public_url or "").hostname
    if public and context.unit(_NGINX_UNIT).is_up:
        yield _probe_nginx(public, "/healthz")


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Probe the app's health page directly and through nginx."""
    state = context.app_state(app)
    if state.current is None or (units_of(app) and not context.unit(main_unit(app, state)).is_up):
        yield ok(f"{app.name} is stopped and was not probed")
        return
    probe = _app_probe(app, state)
    yield _run_probe(probe, f"journalctl --unit {main_unit(app, state)} --lines 50; sudo hookd rollback {app.name}")
    if app.site.domain and context.unit(_NGINX_UNIT).is_up:
        yield _probe_nginx(app.site.domain, probe.page)


def _app_probe(app: App, state: AppState) -> HttpProbe:
    """Build the health request, sent to the address of visitors' requests."""
    address, page = parse_health_url(app.health.url.replace("{colour}", state.colour or ""))
    if app.service.units == "hookd":
        address = parse_address(listen_address(app))
    seconds = min(app.health.timeout, _SECONDS)
    return HttpProbe(app.name, address, page, app.health.host, app.health.status, seconds)


def _run_probe(probe: HttpProbe, hint: str) -> Finding:
    try:
        status = request_status(probe.address, probe.page, probe.host, probe.seconds)
    except NoAnswer as failure:
        return error(f"{probe.target} {failure} at {probe.address}", hint)
    message = f"{probe.target} answers {status} at {probe.address}"
    return ok(message) if status == probe.status else error(f"{message}, expected {probe.status}", hint)


def _probe_nginx(domain: str, page: str) -> Finding:
    """Request a page as a visitor. Any status except nginx's own gateway errors shows that nginx reaches the target."""
    try:
        status = request_status(_NGINX, page, domain, _SECONDS)
    except NoAnswer as failure:
        hint = "journalctl --unit nginx.service --lines 50; sudo systemctl restart nginx.service"
        return error(f"nginx {failure} for {domain}", hint)
    message = f"nginx answers {status} for {domain}"
    return error(message, "sudo tail -n 20 /var/log/nginx/error.log") if status in _GATEWAY_ERRORS else ok(message)


def check_nginx(context: HostContext) -> Iterator[Finding]:
    """Check nginx's unit, its configuration and its limits for pushes."""
    settings = context.settings.receiver
    if not settings.bind.startswith("unix:"):
        yield ok("the receiver listens on TCP, nginx was not checked")
        return
    if not any(program.exists() for program in _NGINX_PROGRAMS):
        yield unknown("nginx is not installed, so the way of pushes is unknown", "sudo apt-get install nginx")
        return
    context.require_root("read nginx's configuration")
    yield from check_unit(context.unit(_NGINX_UNIT), "sudo apt-get install nginx")
    try:
        text = run(("nginx", "-T", "-q"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"nginx rejects its configuration: {failed.output}", "sudo nginx -t")
        return
    yield from check_body_limits(list(proxy_targets(parse(text))), settings.bind, settings.max_body)


def check_body_limits(targets: list[ProxyTarget], bind: str, max_body: int) -> Iterator[Finding]:
    """Check that nginx passes bodies of `max_body` bytes to the receiver at `bind`."""
    own = [target for target in targets if bind in target.target]
    if not own:
        yield error(f"no nginx site passes requests to the receiver ({bind})", "sudo hookd setup --domain DOMAIN")
    for domains, largest in dict.fromkeys((target.domains, target.max_body) for target in own):
        if 0 < largest < max_body:
            site = " ".join(domains) or "the default site"
            repair = "sudo hookd setup && sudo nginx -t && sudo systemctl reload nginx.service"
            yield error(f"nginx limits bodies to {largest} bytes for {site}, pushes may have {max_body}", repair)
