"""A wish for a new app, as a person types it, turned into the table of its file in the catalogue; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from units.system import layout

_SCP: Final = re.compile(r"[^@/]+@(?P<host>[^:/]+):(?P<path>.+)")
# Below this much memory two releases of an app side by side may be one too many.
BLUE_GREEN_MIB: Final = 900
_SENDERS: Final = {"github.com": "github", "codeberg.org": "forgejo"}


@dataclass(frozen=True)
class AddOptions:
    """The options of `hookd app add`; None leaves a choice to hookd."""

    name: str
    repository: str
    branch: str = "main"
    full_name: str | None = None
    sender: str | None = None
    domain: str | None = None
    health: str = "/healthz"
    handover: str | None = None
    entry: str = "wsgi:app"
    listen: str | None = None
    workers: int = 2
    policy: str = "group"
    files: tuple[str, ...] = ()
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remote:
    """Where a repository is, as far as its URL says."""

    host: str
    port: int | None
    path: str
    ssh: bool


def parse_remote(url: str) -> Remote:
    """Take a repository's URL apart; what is wrong with it is the catalogue's to say."""
    if scp := _SCP.fullmatch(url):
        return Remote(scp["host"], None, scp["path"], ssh=True)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Remote("", None, url, ssh=False)
    return Remote(parts.hostname or "", port, parts.path, ssh=parts.scheme == "ssh")


def app_table(wish: AddOptions, *, memory_mib: int) -> dict[str, Any]:
    """The app's file as a table, with the choices made that were left open."""
    remote = parse_remote(wish.repository)
    handover = wish.handover or ("blue-green" if memory_mib >= BLUE_GREEN_MIB else "restart")
    table: dict[str, Any] = {
        "repository": wish.repository,
        "full_name": wish.full_name or _full_name(remote.path),
        "branch": wish.branch,
        "sender": wish.sender or _SENDERS.get(remote.host, "gitea"),
        "root": str(layout.app_root(wish.name)),
    }
    if remote.ssh:
        table["deploy_key"] = str(layout.deploy_key(wish.name))
    environment = str(layout.app_environment(wish.name))
    table["build"] = {"environment_file": environment}
    if wish.files or wish.data:
        table["shared"] = _shared(wish)
    if wish.policy != "group":
        table["ownership"] = {"policy": wish.policy}
    table["service"] = _service(wish, handover, environment)
    table["health"] = _health(wish, handover)
    if wish.domain:
        table["site"] = {"domain": wish.domain}
    return table


def complete_table(name: str, table: Mapping[str, Any], *, memory_mib: int) -> dict[str, Any]:
    """A table that a person wrote, with what follows from its repository and, for units of hookd's, its service."""
    service, site = table.get("service", {}), table.get("site", {})
    repository = table.get("repository")
    if not isinstance(repository, str) or not isinstance(service, Mapping) or not isinstance(site, Mapping):
        return dict(table)
    listen = service.get("listen")
    wish = AddOptions(name, repository, handover=service.get("handover", "restart"), domain=site.get("domain"))
    made = app_table(replace(wish, listen=listen if isinstance(listen, str) else None), memory_mib=memory_mib)
    left_open = ("full_name", "sender", "root", "deploy_key", *(("health",) if service.get("units") == "hookd" else ()))
    return {**{key: made[key] for key in left_open if key in made}, **table}


def _full_name(path: str) -> str:
    """`owner/name`, as senders write it: the last two parts of the repository's path."""
    return "/".join(path.removesuffix(".git").strip("/").split("/")[-2:])


def _shared(wish: AddOptions) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    if wish.files:
        shared["files"] = list(wish.files)
    if wish.data:
        shared |= {"directories": list(wish.data), "data": str(layout.app_data(wish.name))}
    return shared


def _service(wish: AddOptions, handover: str, environment: str) -> dict[str, Any]:
    return {
        "units": "hookd",
        "handover": handover,
        "entry": wish.entry,
        "workers": wish.workers,
        "environment_file": environment,
        **({"listen": wish.listen} if wish.listen else {}),
    }


def _health(wish: AddOptions, handover: str) -> dict[str, Any]:
    host = {"host": wish.domain} if wish.domain else {}
    if handover == "blue-green":
        return {"url": f"unix:{layout.SOCKETS}/{wish.name}-{{colour}}.sock:{wish.health}", **host}
    listen = wish.listen or f"unix:{layout.SOCKETS}/{wish.name}.sock"
    place = f"{listen}:" if listen.startswith("unix:") else f"http://{listen}"
    return {"url": f"{place}{wish.health}", **host}
