"""Paths, addresses and groups of an app's units, derived from its file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.system import layout
from units.system.errors import Refused

_HEALTH_SOCKET: Final = re.compile(r"unix:(?P<path>/[^:]+):(?P<page>/.*)")
_HEALTH_TCP: Final = re.compile(r"http://[^/]+(?P<page>/.*)?")
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
# gunicorn kills a silent worker after 30 s.
_MAX_HEALTH_SECONDS: Final = 25


def listen_address(app: App) -> str:
    """Return the public address: `HOST:PORT`, or `unix:/path`."""
    return app.service.listen or f"unix:{layout.SOCKETS}/{app.name}.sock"


def code_group(app: App) -> str | None:
    """Return the group that may read the app's code, or None."""
    return app.ownership.group if app.ownership.policy == "group" else None


def data_directories(app: App) -> tuple[Path, ...]:
    """Return the directories that the app may write to."""
    return tuple(app.data_root / name for name in app.shared.directories)


def worker_writable(apps: Iterable[App]) -> tuple[Path, ...]:
    """Return the outermost directories that deployments write to."""
    paths = sorted({path for app in apps for path in (app.root, app.shared_root, app.data_root)})
    return tuple(path for path in paths if not any(other in path.parents for other in paths))


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
    """Return the health variables of `gunicorn.conf.py`, as NAME=value."""
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
