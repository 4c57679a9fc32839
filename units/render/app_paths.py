"""Where one app's units find and may write things: derived from its file in the catalogue, nothing read from disk."""

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
# gunicorn kills a worker that has said nothing for 30 s, and the deployer should hear the answer in its own time.
_LONGEST_QUESTION: Final = 25


def listen_address(app: App) -> str:
    """Where visitors come in: `HOST:PORT`, or `unix:/path`."""
    return app.service.listen or f"unix:{layout.SOCKETS}/{app.name}.sock"


def code_group(app: App) -> str | None:
    """The group that may read the app's code; None when it needs no group."""
    return app.ownership.group if app.ownership.policy == "group" else None


def data_directories(app: App) -> tuple[Path, ...]:
    """The directories that the app may write to."""
    return tuple(app.data_root / name for name in app.shared.directories)


def worker_writable(apps: Iterable[App]) -> tuple[Path, ...]:
    """The directories that deployments write to, without those that lie in another."""
    paths = sorted({path for app in apps for path in (app.root, app.shared_root, app.data_root)})
    return tuple(path for path in paths if not any(other in path.parents for other in paths))


def protect_home(paths: Iterable[Path]) -> str:
    """How much of home directories is hidden: all, unless something that is needed lies in one."""
    return "read-only" if any(path.is_relative_to(home) for path in paths for home in _HOMES) else "yes"


def health_socket(app: App, colour: str) -> Path:
    """Where one colour is asked whether it is well; raises Refused when it shares that place with the other."""
    found = _HEALTH_SOCKET.fullmatch(app.health.url)
    if found is None or "{colour}" not in found["path"]:
        raise Refused(
            [f"{app.name}: health.url: wanted unix:{layout.SOCKETS}/{app.name}-{{colour}}.sock:/page for hookd's units"]
        )
    return Path(found["path"].replace("{colour}", colour))


def health_variables(app: App, colour: str | None) -> tuple[str, ...]:
    """What `gunicorn.conf.py` is told of the health page, as NAME=value."""
    found = _HEALTH_SOCKET.fullmatch(app.health.url) or _HEALTH_TCP.fullmatch(app.health.url)
    page = (found["page"] if found else None) or "/"
    seconds = min(_LONGEST_QUESTION, max(1, int(app.health.deadline * 2 / 3)))
    return (
        f"HOOKD_HEALTH_PATH={page.replace('{colour}', colour or '')}",
        f"HOOKD_HEALTH_STATUS={app.health.status}",
        f"HOOKD_HEALTH_HOST={app.health.host}",
        f"HOOKD_HEALTH_SECONDS={seconds}",
        *((f"HOOKD_HEALTH_SOCKET={health_socket(app, colour)}",) if colour else ()),
    )
