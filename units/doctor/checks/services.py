"""Services of hookd and its apps: their units run and start at boot, and they answer directly and through nginx.

Only running services are probed, because a request to a stopped one would start it through its socket.
"""

import shutil
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from hookd.http_probe import Address, NoAnswer, parse_address, parse_health_url, request_status
from hookd.model.app import App
from hookd.model.journal import AppState
from hookd.model.tables.health import Health
from units.apps.changes import units_of
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok, unknown, warning
from units.render.app import listen_address
from units.system import layout
from units.system.run import CommandFailed, run
from units.system.systemd import Unit

_SETUP: Final = "sudo hookd setup"
_ENABLED_STATES: Final = ("enabled", "enabled-runtime", "alias", "static", "generated", "indirect")
_RECENT_SECONDS: Final = 600
_SECONDS: Final = 5.0
_HEALTHY: Final = Health(url="http://localhost/")
_NGINX: Final = Address(port=80)
_NGINX_UNIT: Final = "nginx.service"
_GATEWAY_ERRORS: Final = (500, 502, 503, 504)


def check(context: HostContext) -> Iterator[Finding]:
    """Check hookd's own units."""
    for name in layout.UNITS:
        yield from check_unit(context.unit(name), _SETUP)
    yield from check_reconcile_unit(context.unit(layout.RECONCILE))


def check_reconcile_unit(unit: Unit) -> Iterator[Finding]:
    """Check the last run of the reconciler, which its timer starts for a moment."""
    if unit.load != "loaded":
        yield error(f"{unit.name} is missing: lost pushes stay undeployed", _SETUP)
    elif unit.active == "failed":
        hint = f"journalctl --unit {unit.name} --lines 50; sudo systemctl start {unit.name}"
        yield error(f"{unit.name} failed ({unit.result}): lost pushes stay undeployed", hint)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check an app's units, except those of the idle colour."""
    names = units_of(app)
    if not names:
        yield ok(f"{app.service.manager} runs {app.name}, its units were not checked")
        return
    state = context.app_state(app)
    if state.current is None:
        yield warning(f"{app.name} was never deployed", f"sudo hookd deploy {app.name}")
        return
    if all(context.unit(name).active == "inactive" for name in names):
        yield warning(f"{app.name} is stopped", f"sudo hookd start {app.name}")
        return
    main = context.unit(main_unit(app, state))
    for name in serving_units(app, state):
        # A deployment starts a colour. After a reboot the parent unit starts it. The parent unit is inactive if a
        # deployment started the app after a stop.
        may_be_inactive = main.is_up and name != main.name and name == f"{app.service_name}.service"
        is_colour = name.startswith((f"{app.service_name}-blue", f"{app.service_name}-green"))
        yield from check_unit(context.unit(name), _SETUP, is_enabled=not is_colour, may_be_inactive=may_be_inactive)


def serving_units(app: App, state: AppState) -> tuple[str, ...]:
    """Return the units that must run now."""
    idle = {"blue": "green", "green": "blue"}.get(state.colour or "")
    return tuple(name for name in units_of(app) if idle is None or not name.startswith(f"{app.service_name}-{idle}"))


def main_unit(app: App, state: AppState) -> str:
    """Return the service that answers visitors."""
    if app.service.handover == "restart" or state.colour is None:
        return f"{app.service_name}.service"
    return f"{app.service_name}-{state.colour}.service"


def check_unit(
    unit: Unit, install: str, *, is_enabled: bool = True, may_be_inactive: bool = False
) -> Iterator[Finding]:
    """Check one unit. `install` is the command that writes its file again."""
    if unit.load == "not-found":
        yield error(f"{unit.name} is missing", install)
        return
    if unit.load == "masked":
        yield error(f"{unit.name} is masked and cannot start", f"sudo systemctl unmask {unit.name}")
        return
    if unit.load != "loaded":
        yield error(f"systemd cannot load {unit.name} ({unit.load})", f"systemd-analyze verify {unit.name}; {install}")
        return
    if not (may_be_inactive and unit.active == "inactive"):
        yield from _check_running(unit)
    if is_enabled and unit.file not in _ENABLED_STATES:
        state = unit.file or "not enabled"
        yield warning(f"{unit.name} does not start at boot ({state})", f"sudo systemctl enable {unit.name}")
    if unit.needs_reload:
        reload = f"sudo systemctl daemon-reload && sudo systemctl restart {unit.name}"
        yield warning(f"{unit.name} changed on disk, systemd runs the old file", reload)


def _check_running(unit: Unit) -> Iterator[Finding]:
    show_log, start = f"journalctl --unit {unit.name} --lines 50", f"sudo systemctl restart {unit.name}"
    # systemd 252 keeps its counter through a restart by hand of a unit that waits for its own restart.
    forget = f"sudo systemctl reset-failed {unit.name}"
    up_seconds = time.monotonic() - unit.since
    if unit.active == "failed":
        yield error(f"{unit.name} failed ({unit.result})", f"{show_log}; {start}")
    elif unit.sub == "auto-restart":
        message = f"{unit.name} keeps restarting ({unit.restarts} times; {unit.result})"
        yield error(message, f"{show_log}; {forget}; {start}")
    elif unit.active == "inactive":
        yield error(f"{unit.name} is not running", f"sudo systemctl start {unit.name}")
    elif unit.is_up and unit.restarts and up_seconds < _RECENT_SECONDS:
        times = f"{unit.restarts} times, last {up_seconds / 60:.0f} min ago"
        yield warning(f"{unit.name} ended and was restarted ({times})", f"{show_log}; {forget}")


def check_answers(context: HostContext) -> Iterator[Finding]:
    """Probe the receiver on its own socket and through nginx."""
    if not context.unit("hookd.service").is_up:
        yield ok("the receiver is stopped and was not probed")  # The services check reports the error.
        return
    settings = context.settings.receiver
    address = parse_address(settings.bind)
    hint = "journalctl --unit hookd.service --lines 50; sudo systemctl restart hookd.service"
    for page, target in (("/healthz", "the receiver"), ("/readyz", "the receiver's Redis check")):
        yield _probe(target, address, page, hint)
    public = urlsplit(settings.public_url or "").hostname
    if public and context.unit(_NGINX_UNIT).is_up:
        yield _probe_nginx(public, "/healthz")


def check_app_answers(context: HostContext, app: App) -> Iterator[Finding]:
    """Probe the app's health page directly and through nginx."""
    state = context.app_state(app)
    if state.current is None or (units_of(app) and not context.unit(main_unit(app, state)).is_up):
        yield ok(f"{app.name} is stopped and was not probed")
        return
    address, page = parse_health_url(app.health.url_of(state.colour))
    if app.service.units == "hookd":
        address = parse_address(listen_address(app))  # The address of visitors' requests.
    hint = f"journalctl --unit {main_unit(app, state)} --lines 50; sudo hookd rollback {app.name}"
    yield _probe(app.name, address, page, hint, app.health)
    if app.site.domain and context.unit(_NGINX_UNIT).is_up:
        yield _probe_nginx(app.site.domain, page)


def _probe(target: str, address: Address, page: str, hint: str, health: Health = _HEALTHY) -> Finding:
    try:
        status = request_status(address, page, health.host, min(health.timeout, _SECONDS))
    except NoAnswer as failure:
        return error(f"{target} {failure} at {address}", hint)
    message = f"{target} answers {status} at {address}"
    return ok(message) if health.accepts(status) else error(f"{message}, expected {health.status}", hint)


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
    """Check nginx's unit and its configuration. The setup check compares hookd's own site."""
    if not context.settings.receiver.bind.startswith("unix:"):
        yield ok("the receiver listens on TCP, nginx was not checked")
        return
    if not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
        yield unknown("nginx is not installed, so the way of pushes is unknown", "sudo apt-get install nginx")
        return
    context.require_root("read nginx's configuration")
    yield from check_unit(context.unit(_NGINX_UNIT), "sudo apt-get install nginx")
    try:
        run(("nginx", "-t", "-q"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"nginx rejects its configuration: {failed.output}", "sudo nginx -t")
