"""Renders the files of one app: units, sudoers, nginx site, log rotation."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.tables.service import COLOURS, Colour
from units.changes.change import File, Link
from units.render.phases import phase_files
from units.render.processes import process_files
from units.render.sudoers import sudoers
from units.render.templates import render
from units.system import layout
from units.system.errors import Refused
from units.system.facts import Host

_HEALTH_SOCKET: Final = re.compile(r"unix:(?P<path>/[^:]+):(?P<page>/.*)")
_HEALTH_TCP: Final = re.compile(r"http://[^/]+(?P<page>/.*)?")
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
# gunicorn kills a silent worker after 30 s.
_MAX_HEALTH_SECONDS: Final = 25


def app_files(app: App, host: Host) -> tuple[File | Link, ...]:
    """Render the files of an app. Raises Refused for an unsafe value.

    An existing unit (`service.units`) gets a drop-in, and a socket if `service.listen` is set. Without any socket it
    gets nothing.
    """
    return (
        *_units(app, host),
        *phase_files(app, sandbox_values(app)),
        *process_files(app, sandbox_values(app)),
        *sudoers(app),
        *app_site(app, host),
        *_rotation(app),
    )


def _units(app: App, host: Host) -> tuple[File | Link, ...]:
    if not app.uses_systemd:
        return ()
    if app.service.units == "existing":
        public = (_socket(app), _enabled_socket(app)) if app.service.listen else ()
        return (*public, _drop_in(app)) if public or app.service.own_socket else ()
    if app.service.handover == "restart":
        return (*(() if app.service.own_address else (_socket(app),)), _service(app, None))
    colours = [file for colour in COLOURS for file in (_health_socket(app, colour), _service(app, colour))]
    return (_socket(app), *colours, _parent_unit(app, host))


def _unit(name: str, text: str) -> File:
    return File(layout.SYSTEMD / name, text)


def _socket(app: App) -> File:
    listen = listen_address(app)
    values = {"listen": listen.removeprefix("unix:"), "is_unix": listen.startswith("unix:")}
    return _unit(f"{app.service_name}.socket", render("app/app.socket", app=app, unit=app.service_name, **values))


def _enabled_socket(app: App) -> Link:
    """Return the link of `systemctl enable`. As a resource it is removed with the socket."""
    name = f"{app.service_name}.socket"
    return Link(layout.SYSTEMD / "sockets.target.wants" / name, layout.SYSTEMD / name)


def _health_socket(app: App, colour: Colour) -> File:
    unit = app.service_name
    path = health_socket(app, colour)
    text = render("app/health.socket", app=app, unit=unit, colour=colour, health_socket=path)
    return _unit(f"{unit}-{colour}-health.socket", text)


def _service(app: App, colour: Colour | None) -> File:
    unit = app.service_name
    name, sockets = (f"{unit}-{colour}", f"{unit}.socket {unit}-{colour}-health.socket") if colour else (unit, "")
    text = render(
        "app/app.service",
        **_gunicorn_values(app, colour),
        **sandbox_values(app),
        colour=colour,
        sockets=sockets or ("" if app.service.own_address else f"{unit}.socket"),
    )
    return _unit(f"{name}.service", text)


def sandbox_values(app: App) -> dict[str, object]:
    """Return the values of the sandbox that the service, the phases and the commands of a person share."""
    data = data_directories(app)
    return {"group": code_group(app), "writable": data, "protect_home": protect_home((app.root, *data))}


def _gunicorn_values(app: App, colour: Colour | None) -> dict[str, object]:
    home = app.root / (colour or "current")
    address = app.service.own_address
    host, _, port = address.rpartition(":") if address else ("", "", "")
    return {
        "app": app,
        "unit": app.service_name,
        "home": home,
        "health": () if app.service.command else health_variables(app, colour),
        "address": {"HOST": host.strip("[]"), "PORT": port} if address else {},
    }


def _parent_unit(app: App, host: Host) -> File:
    unit, home = app.service_name, protect_home((app.root,))
    return _unit(f"{unit}.service", render("app/parent.service", app=app, unit=unit, host=host, protect_home=home))


def _drop_in(app: App) -> File:
    return _unit(f"{app.service_name}.service.d/hookd.conf", render("app/adopted.conf", **_gunicorn_values(app, None)))


def app_site(app: App, host: Host) -> tuple[File | Link, ...]:
    """Render the nginx site of an app, if it has a domain."""
    if app.site.domain is None or not host.has_nginx:
        return ()
    listen = listen_address(app)
    text = render(
        "nginx/app",
        app=app,
        domain=app.site.domain,
        certificate=certificate_directory(app.site.domain, host) if app.site.tls else None,
        upstream=f"http://{listen}",
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
    owner = app.ownership
    texts = [render("app/logrotate", app=app, logs=path, user=owner.user, group=owner.group) for path in logs]
    return (File(layout.LOGROTATE / f"hookd-{app.name}", "\n".join(texts)),) if texts else ()


def listen_address(app: App) -> str:
    """Return the public address: `HOST:PORT`, or `unix:/path`."""
    return app.service.listen or f"unix:{layout.SOCKETS}/{app.name}.sock"


def code_group(app: App) -> str | None:
    """Return the group that may read the app's code, or None."""
    return app.ownership.group if app.ownership.policy == "group" else None


def data_directories(app: App) -> tuple[Path, ...]:
    """Return the directories that the app may write to."""
    return tuple(app.data_root / name for name in app.shared.directories)


def protect_home(paths: Iterable[Path]) -> str:
    """Return systemd's value: home directories are hidden unless a path lies in one."""
    return "read-only" if any(path.is_relative_to(home) for path in paths for home in _HOMES) else "yes"


def health_socket(app: App, colour: str) -> Path:
    """Return the socket for a colour's health checks. Raises Refused if both colours share it."""
    found = _HEALTH_SOCKET.fullmatch(app.health.url)
    if found is None or "{colour}" not in found["path"]:
        raise Refused(
            [f"{app.name}: health.url: wanted unix:{layout.SOCKETS}/{app.name}-{{colour}}.sock:/page for hookd's units"]
        )
    return Path(found["path"].replace("{colour}", colour))


def health_variables(app: App, colour: str | None) -> tuple[str, ...]:
    """Return the health variables of the gate in `units/in_app`, as NAME=value."""
    found = _HEALTH_SOCKET.fullmatch(app.health.url) or _HEALTH_TCP.fullmatch(app.health.url)
    page = (found["page"] if found else None) or "/"
    seconds = min(_MAX_HEALTH_SECONDS, max(1, int(app.health.deadline * 2 / 3)))
    return (
        f"HOOKD_HEALTH_PATH={page.replace('{colour}', colour or '')}",
        f"HOOKD_HEALTH_STATUS={app.health.status}",
        f"HOOKD_HEALTH_HOST={app.health.host}",
        f"HOOKD_HEALTH_SECONDS={seconds}",
        *((f"HOOKD_HEALTH_SOCKET={health_socket(app, colour)}",) if colour else ()),
    )
