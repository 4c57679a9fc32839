"""The table of an app's file: made from the options of `hookd app add`, or completed, and parsed."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from hookd.config import from_validation
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from hookd.model.ids import is_app
from units.system import layout
from units.system.errors import Reason, Refused

_SCP: Final = re.compile(r"[^@/]+@(?P<host>[^:/]+):(?P<path>.+)")
# Two releases side by side need more memory than a small host has.
BLUE_GREEN_MIB: Final = 900


# Options of `hookd app add` with the names of keys in the table `service`.
_SERVICE_OPTIONS: Final = ("directory", "entry", "workers", "listen")


@dataclass(frozen=True)
class AddOptions:
    """The options of `hookd app add`. hookd chooses for None."""

    name: str
    repository: str
    branch: str = "main"
    full_name: str | None = None
    sender: str | None = None
    domain: str | None = None
    no_tls: bool = False
    health: str | None = None
    handover: str | None = None
    directory: str | None = None
    entry: str | None = None
    listen: str | None = None
    workers: int | None = None
    policy: str = "group"
    user: str | None = None
    files: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remote:
    """The parts of a repository's URL."""

    host: str
    port: int | None
    path: str
    ssh: bool


def parse_remote(url: str) -> Remote:
    """Split a repository's URL. The catalogue rejects invalid ones later."""
    if scp := _SCP.fullmatch(url):
        return Remote(scp["host"], None, scp["path"], ssh=True)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Remote("", None, url, ssh=False)
    return Remote(parts.hostname or "", port, parts.path, ssh=parts.scheme == "ssh")


def app_table(options: AddOptions, *, memory_mib: int, page: str = "/healthz") -> dict[str, Any]:
    """Return the app's file as a table, with hookd's choices. `page` is for health checks, if no option names one."""
    remote = parse_remote(options.repository)
    handover = options.handover or ("blue-green" if memory_mib >= BLUE_GREEN_MIB else "restart")
    table: dict[str, Any] = {
        "repository": options.repository,
        "full_name": options.full_name or full_name_of(remote.path),
        "branch": options.branch,
        "sender": options.sender or sender_of(remote.host),
        "root": str(layout.app_root(options.name)),
    }
    if remote.ssh:
        table["deploy_key"] = str(layout.deploy_key(options.name))
    environment = str(layout.app_environment(options.name))
    table["build"] = {"environment_file": str(layout.build_environment(options.name))}
    if options.files:
        table["shared"] = {"files": list(options.files)}
    if options.data:
        data = {"directories": list(options.data), "data": str(layout.app_data(options.name))}
        table["shared"] = table.get("shared", {}) | data
    if ownership := _ownership(options):
        table["ownership"] = ownership
    table["service"] = _service(options, handover, environment)
    if options.processes:
        table["processes"] = _processes(options.processes)
    table["health"] = _health(options, handover, page)
    if options.domain:
        table["site"] = {"domain": options.domain, **({"tls": False} if options.no_tls else {})}
    return table


def with_data_place(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Return a table whose shared directories lie in the app's own place for data."""
    shared = table.get("shared", {})
    if not isinstance(shared, Mapping) or "directories" not in shared or "data" in shared:
        return table
    return {**table, "shared": {**shared, "data": str(layout.app_data(name))}}


def _ownership(options: AddOptions) -> dict[str, str]:
    """Return the values that differ from an app's defaults."""
    policy = {} if options.policy == "group" else {"policy": options.policy}
    return policy if options.user in (None, layout.WEB) else {**policy, "user": str(options.user)}


def complete_table(name: str, table: Mapping[str, Any], *, memory_mib: int) -> dict[str, Any]:
    """Complete a person's table with values that follow from its repository and service."""
    service, site = table.get("service", {}), table.get("site", {})
    repository = table.get("repository")
    if not isinstance(repository, str) or not isinstance(service, Mapping) or not isinstance(site, Mapping):
        return dict(table)
    listen = service.get("listen")
    options = AddOptions(name, repository, handover=service.get("handover", "restart"), domain=site.get("domain"))
    made = app_table(replace(options, listen=listen if isinstance(listen, str) else None), memory_mib=memory_mib)
    left_open = ("full_name", "sender", "root", "deploy_key", *(("health",) if service.get("units") == "hookd" else ()))
    return {**{key: made[key] for key in left_open if key in made}, **table}


def parse_app(name: str, table: Mapping[str, Any]) -> App:
    """Parse an app's table. Raises Refused with all problems."""
    problems = []
    if not is_app(name):
        rule = "a-z, then a-z, 0-9, -, at most 32"
        problems.append(str(Reason(f"{name!r} cannot name an app: {rule}", "sudo hookd app add shop --repo URL")))
    if "name" in table:
        problems.append(f"name: remove this key, because the file's name counts: {layout.app_file(name)}")
    try:
        app = App.model_validate({**table, "name": name if is_app(name) else "unnamed"})
    except ValidationError as error:
        problems += map(str, from_validation(name, error))
    if problems:
        raise Refused(problems)
    return app


def sender_of(domain: str) -> str:
    """Return the git host of a domain, by default Gitea."""
    return next((host for host in GitHost if host.domain == domain), GitHost.GITEA).value


def full_name_of(path: str) -> str:
    """Return `owner/name`: the last two parts of the path."""
    return "/".join(path.removesuffix(".git").strip("/").split("/")[-2:])


def _service(options: AddOptions, handover: str, environment: str) -> dict[str, Any]:
    return {
        "units": "hookd",
        "handover": handover,
        "environment_file": environment,
        **{key: value for key in _SERVICE_OPTIONS if (value := getattr(options, key)) is not None},
    }


def _processes(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the table `processes`. Raises Refused."""
    found = [_process(text) for text in texts]
    table = dict(found)
    if len(table) < len(found):
        raise Refused([f"--process: two processes with one name: {', '.join(name for name, _ in found)}"])
    return table


def _process(text: str) -> tuple[str, dict[str, list[str]]]:
    """Return the name and the table of a process. Raises Refused."""
    name, equals, command = text.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused([f"--process {name}: the command has {str(error).lower()}"]) from None
    if not equals or not words:
        raise Refused([f"--process {text!r} is not NAME=COMMAND, such as worker='rq worker shop'"])
    return name, {"command": words}


def _health(options: AddOptions, handover: str, page: str) -> dict[str, Any]:
    page, host = options.health or page, {"host": options.domain} if options.domain else {}
    if handover == "blue-green":
        return {"url": f"unix:{layout.SOCKETS}/{options.name}-{{colour}}.sock:{page}", **host}
    listen = options.listen or f"unix:{layout.SOCKETS}/{options.name}.sock"
    place = f"{listen}:" if listen.startswith("unix:") else f"http://{listen}"
    return {"url": f"{place}{page}", **host}
