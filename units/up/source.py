"""The repository of an app without root, and what follows from it: a name, and a first table."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hookd.http_probe import parse_health_url
from hookd.model.ids import is_app, slug
from hookd.model.plan import Plan
from units.apps.table.options import full_name_of, parse_remote, sender_of
from units.system.errors import HostError
from units.system.run import CommandFailed, run
from units.up.home import Home

_URL: Final = re.compile(r"[a-z+]+://.*|[^/]+@[^/:]+:.*")
_SERVER_TABLES: Final = ("processes", "timers", "site")
# A commit in this checkout is live this soon. The default of three minutes is meant for git hosts.
_LOCAL_SECONDS: Final = 10


def repository_url(given: str | None) -> str:
    """Return the URL of a repository: a given URL, a directory's, or this directory's. Raises HostError."""
    if given and _URL.fullmatch(given):
        return given
    directory = Path(given or ".").absolute()
    if not directory.is_dir():
        raise HostError(f"the directory {directory} does not exist", hint="hookd up --repo URL")
    try:
        top = run(("git", "-C", str(directory), "rev-parse", "--absolute-git-dir")).strip()
    except CommandFailed:
        init = shlex.join(("git", "-C", str(directory), "init"))
        raise HostError(f"{directory} is no git repository", hint=init) from None
    path = Path(top).parent if Path(top).name == ".git" else Path(top)
    if re.search(r"\s", str(path)):
        hint = shlex.join(("mv", str(path), re.sub(r"\s+", "-", str(path))))
        raise HostError(f"a repository's path has no blanks: {path}", hint=hint)
    return f"file://{path}"


def app_name(url: str) -> str:
    """Return the name for a repository's app. Raises HostError for a URL without one."""
    last = parse_remote(url).path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    name = slug(last)
    if not is_app(name):
        raise HostError(f"{last!r} cannot name an app", hint="hookd up --name shop")
    return name


def first_table(home: Home, url: str, branch: str, port: int, page: str) -> dict[str, Any]:
    """Return the app's table without what is found in the repository."""
    remote = parse_remote(url)
    is_local = url.startswith("file://")
    return {
        "repository": url,
        "full_name": f"local/{home.name}" if is_local else full_name_of(remote.path),
        "branch": branch,
        "sender": sender_of(remote.host),
        "root": str(home.root),
        "ownership": {"policy": "split"},
        "service": {
            "manager": "circus",
            "endpoint": home.endpoint,
            "handover": "blue-green",
            "listen": f"127.0.0.1:{port}",
            "environment_file": str(home.variables_file),
        },
        "health": {"url": home.health_url(page)},
        **({"reconcile": {"every": _LOCAL_SECONDS}} if is_local else {}),
    }


def with_own_command(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table whose command, if it has one, is the only process, and is asked over its own port."""
    service = table["service"]
    if not service.get("command"):
        return table
    _, page = parse_health_url(table["health"]["url"])
    health = {**table["health"], "url": f"http://{service['listen']}{page}"}
    return {**table, "service": {**service, "handover": "restart"}, "health": health}


def without_server_keys(plan: Plan) -> Plan:
    """Return a plan without the findings that count only on a server, and with a remark about them."""
    left = tuple(finding for finding in plan.findings if finding.key.partition(".")[0] not in _SERVER_TABLES)
    names = sorted({finding.key.partition(".")[0] for finding in plan.findings if finding not in left})
    remark = (f"Left out, because they are for servers: {', '.join(names)}.",) if names else ()
    return replace(plan, findings=left, remarks=(*plan.remarks, *remark))
