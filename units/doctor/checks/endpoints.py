"""Whether what should answer does: the receiver on its socket, nginx in front, and the release that serves.

Only services that run are asked. A question to an idle one would start it, as systemd holds its socket.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hookd.model.app import App
from hookd.model.journal import AppState
from units.apps.plan import units_of
from units.doctor.checks.services import main_unit
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok
from units.render.app_paths import listen_address
from units.system.http import Address, NoAnswer, address_and_page, address_of, status_of

_SECONDS: Final = 5.0
_NGINX: Final = Address(port=80)
_GATEWAY_ERRORS: Final = (500, 502, 503, 504)


@dataclass(frozen=True)
class HttpProbe:
    """Whom to ask where for what, and the status that is right."""

    whom: str
    address: Address
    page: str
    host: str = "localhost"
    status: int = 200
    seconds: float = _SECONDS


def check(subject: HostContext) -> Iterator[Finding]:
    """Ask the receiver, on its own socket and through nginx."""
    if not subject.unit("hookd.service").is_up:
        yield ok("the receiver does not run and is not asked")  # The services' check says so as an error.
        return
    settings = subject.settings.receiver
    log = "journalctl --unit hookd.service --lines 50; sudo systemctl restart hookd.service"
    for page, what in (("/healthz", "the receiver"), ("/readyz", "the receiver, asked whether it reaches Redis,")):
        yield _run_probe(HttpProbe(what, address_of(settings.bind), page), log)
    public = urlsplit(settings.public_url or "").hostname
    if public and subject.unit("nginx.service").is_up:
        yield _probe_nginx(public, "/healthz", "the receiver")


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Ask the app for its health page as a visitor would."""
    state = subject.state(app)
    if state.current is None or (units_of(app) and not subject.unit(main_unit(app, state)).is_up):
        yield ok(f"{app.name} does not run and is not asked")
        return
    question = _app_probe(app, state)
    yield _run_probe(question, f"journalctl --unit {main_unit(app, state)} --lines 50; sudo hookd rollback {app.name}")
    if app.site.domain and subject.unit("nginx.service").is_up:
        yield _probe_nginx(app.site.domain, question.page, app.name)


def _app_probe(app: App, state: AppState) -> HttpProbe:
    """What to ask, where visitors' requests arrive."""
    address, page = address_and_page(app.health.url.replace("{colour}", state.colour or ""))
    if app.service.units == "hookd":
        address = address_of(listen_address(app))
    seconds = min(app.health.timeout, _SECONDS)
    return HttpProbe(app.name, address, page, app.health.host, app.health.status, seconds)


def _run_probe(question: HttpProbe, mend: str) -> Finding:
    try:
        status = status_of(question.address, question.page, question.host, question.seconds)
    except NoAnswer as failure:
        return error(f"{question.whom} {failure} at {question.address}", mend)
    told = f"{question.whom} answers {status} at {question.address}"
    return ok(told) if status == question.status else error(f"{told}, not {question.status}", mend)


def _probe_nginx(domain: str, page: str, what: str) -> Finding:
    """Ask as a visitor does; any answer but a failure of nginx's own shows that it reaches what is behind."""
    try:
        status = status_of(_NGINX, page, domain, _SECONDS)
    except NoAnswer as failure:
        log = "journalctl --unit nginx.service --lines 50; sudo systemctl restart nginx.service"
        return error(f"nginx, asked for {domain}, {failure}: nobody outside reaches {what}", log)
    if status in _GATEWAY_ERRORS:
        log = "sudo tail -n 20 /var/log/nginx/error.log"
        return error(f"nginx answers {status} for {domain}: it does not reach {what}", log)
    return ok(f"nginx answers {status} for {domain}")
