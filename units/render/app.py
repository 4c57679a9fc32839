"""Renders the files of one app: units, sudoers, nginx site, log rotation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.journal import Colour
from hookd.model.sudo import sudo_commands
from units.plan.steps import File, Link
from units.render import app_paths
from units.render.templates import render
from units.system import layout
from units.system.facts import Host

COLOURS: Final[tuple[Colour, ...]] = ("blue", "green")
_REASONS: Final = {
    "start": "The start after a reboot.",
    "stop": "The end of an old release, or of an unhealthy one.",
    "restart": "A deployment with a restart.",
}


@dataclass(frozen=True)
class SudoCommand:
    """A command that the worker may run as root."""

    text: str
    why: str


def app_files(app: App, host: Host) -> tuple[File | Link, ...]:
    """Render the files of an app. Raises Refused for an unsafe value.

    An existing unit (`service.units`) gets a drop-in, and a socket if `service.listen` is set. Without any socket it
    gets nothing.
    """
    return (*_units(app, host), *_sudoers(app), *_app_site(app, host), *_rotation(app))


def _units(app: App, host: Host) -> tuple[File | Link, ...]:
    if app.service.manager != "systemd":
        return ()
    if app.service.units == "existing":
        public = (_socket(app), _enabled_socket(app)) if app.service.listen else ()
        return (*public, _drop_in(app)) if public or app.service.own_socket else ()
    if app.service.handover == "restart":
        return (_socket(app), _service(app, None))
    colours = [file for colour in COLOURS for file in (_health_socket(app, colour), _service(app, colour))]
    return (_socket(app), *colours, _parent_unit(app, host))


def _unit(name: str, text: str) -> File:
    return File(layout.SYSTEMD / name, text)


def _socket(app: App) -> File:
    listen = app_paths.listen_address(app)
    values = {"listen": listen.removeprefix("unix:"), "is_unix": listen.startswith("unix:")}
    return _unit(f"{app.service_name}.socket", render("app/app.socket", app=app, unit=app.service_name, **values))


def _enabled_socket(app: App) -> Link:
    """Return the link of `systemctl enable`. As a resource it is removed with the socket."""
    name = f"{app.service_name}.socket"
    return Link(layout.SYSTEMD / "sockets.target.wants" / name, layout.SYSTEMD / name)


def _health_socket(app: App, colour: Colour) -> File:
    unit = app.service_name
    path = app_paths.health_socket(app, colour)
    text = render("app/health.socket", app=app, unit=unit, colour=colour, health_socket=path)
    return _unit(f"{unit}-{colour}-health.socket", text)


def _service(app: App, colour: Colour | None) -> File:
    unit = app.service_name
    name, sockets = (f"{unit}-{colour}", f"{unit}.socket {unit}-{colour}-health.socket") if colour else (unit, "")
    text = render(
        "app/app.service",
        **_gunicorn_values(app, colour),
        colour=colour,
        sockets=sockets or f"{unit}.socket",
        group=app_paths.code_group(app),
        writable=app_paths.data_directories(app),
        protect_home=app_paths.protect_home((app.root, *app_paths.data_directories(app))),
    )
    return _unit(f"{name}.service", text)


def _gunicorn_values(app: App, colour: Colour | None) -> dict[str, object]:
    home = app.root / (colour or "current")
    return {"app": app, "unit": app.service_name, "home": home, "health": app_paths.health_variables(app, colour)}


def _parent_unit(app: App, host: Host) -> File:
    unit, home = app.service_name, app_paths.protect_home((app.root,))
    return _unit(f"{unit}.service", render("app/parent.service", app=app, unit=unit, host=host, protect_home=home))


def _drop_in(app: App) -> File:
    return _unit(f"{app.service_name}.service.d/hookd.conf", render("app/adopted.conf", **_gunicorn_values(app, None)))


def _sudoers(app: App) -> tuple[File, ...]:
    commands = [SudoCommand(" ".join(argv), _REASONS[argv[1]]) for argv in sudo_commands(app)]
    if not commands:
        return ()
    text = render("app/sudoers", app=app, commands=commands)
    return (File(layout.sudoers(app.name), text, mode=0o440, check=("visudo", "-c", "-q", "-f")),)


def _app_site(app: App, host: Host) -> tuple[File | Link, ...]:
    if app.site.domain is None or not host.has_nginx:
        return ()
    listen = app_paths.listen_address(app)
    text = render(
        "nginx/app",
        app=app,
        domain=app.site.domain,
        certificate=certificate_directory(app.site.domain, host),
        upstream=f"http://{listen}",
        again=f"hookd app edit {app.name}",
    )
    return nginx_site(f"hookd-{app.name}", text)


def nginx_site(name: str, text: str) -> tuple[File, Link]:
    """Return a site of nginx and the link that enables it."""
    path = layout.SITES / name
    return File(path, text), Link(layout.ENABLED_SITES / name, path)


def certificate_directory(domain: str, host: Host) -> Path | None:
    """Return the directory of a domain's certificate, or None."""
    return layout.CERTIFICATES / domain if domain in host.certificates else None


def _rotation(app: App) -> tuple[File, ...]:
    """Render the rotation of the app's own log directories."""
    logs = [app.data_root / name for name in app.shared.directories if Path(name).name in ("logs", "log")]
    owner = {"user": app.ownership.user, "group": app_paths.code_group(app) or layout.WEB}
    texts = [render("app/logrotate", app=app, logs=path, **owner) for path in logs]
    return (File(layout.LOGROTATE / f"hookd-{app.name}", "\n".join(texts)),) if texts else ()
