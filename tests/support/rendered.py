"""Apps and hosts of every kind, and all files that hookd would put on such a host."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.units.phases import units_of_phases
from units.changes.change import File, Link
from units.render.app import app_files
from units.render.host import host_files
from units.system.facts import Host

Unit = dict[str, list[str]]
UNITS: Final = Path("/etc/systemd/system")

HOST: Final = Host(
    systemd=252,
    redis_program=Path("/usr/bin/redis-server"),
    memory_mib=2000,
    has_nginx=True,
    has_fail2ban=True,
    has_apparmor=True,
    has_selinux=True,
    domain="deploy.example.org",
)
NEW_HOST: Final = replace(
    HOST,
    systemd=257,
    redis_program=Path("/opt/hookd/versions/1-abc/venv/lib/server"),
    certificates=frozenset({"deploy.example.org", "shop.example.org", "blog.example.org"}),
    tls_mail="ops@example.org",
)
BARE_HOST: Final = replace(
    HOST, has_nginx=False, has_fail2ban=False, has_apparmor=False, has_selinux=False, domain=None
)


def make_entry(name: str, service: Mapping[str, Any], health: str, **over: Any) -> App:
    """Build an app of the catalogue as `hookd app add` describes it."""
    table = {
        "name": name,
        "repository": f"git@git.example.org:acme/{name}.git",
        "full_name": f"acme/{name}",
        "root": f"/srv/{name}",
        "shared": {"files": [".env"], "directories": ["uploads", "logs"], "data": f"/var/lib/{name}"},
        "service": {"environment_file": f"/etc/hookd/env/{name}", **service},
        "health": {"url": health},
        "site": {"domain": f"{name}.example.org"},
    }
    return App.model_validate({**table, **over})


SHOP: Final = make_entry(
    "shop", {"units": "hookd", "handover": "blue-green"}, "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"
)
BLOG: Final = make_entry("blog", {"units": "hookd"}, "unix:/run/hookd-apps/blog.sock:/healthz")
# hookd holds the socket of a unit that was there before ...
ADOPTED: Final = make_entry("old", {"listen": "127.0.0.1:8000"}, "http://127.0.0.1:8000/", root="/opt/old")
# ... and here it only restarts it.
FOREIGN: Final = make_entry("wiki", {}, "http://127.0.0.1:9000/healthz")
AT_HOME: Final = make_entry(
    "mine",
    {"units": "hookd", "listen": "[::1]:8001", "environment_file": None},
    "http://[::1]:8001/",
    root="/home/me/mine",
    ownership={"policy": "split"},
    shared={},
    site={},
)
# Its database is copied before migrations.
LEDGER: Final = make_entry(
    "ledger",
    {"units": "hookd"},
    "unix:/run/hookd-apps/ledger.sock:/healthz",
    release={"commands": [["flask", "db", "upgrade"]], "backup": ["pg_dump", "ledger"], "restore": ["psql", "ledger"]},
    site={"domain": "ledger.example.org", "static": {"/static/": "ledger/static"}},
)
APPS: Final = (SHOP, BLOG, ADOPTED, FOREIGN, AT_HOME, LEDGER)
HOSTS: Final = {"252": HOST, "257": NEW_HOST, "bare": BARE_HOST}


def files(host: Host, *apps: App) -> dict[Path, File]:
    """Return all files of a host with these apps, by their paths."""
    return {item.path: item for item in items(host, *apps) if isinstance(item, File)}


def unit_files(host: Host, app: App) -> set[Path]:
    """Return the unit files of an app, without those of its phases."""
    found = (path for path in files(host, app) if path.is_relative_to(UNITS))
    names = ((path, path.relative_to(UNITS).parts[0]) for path in found)
    phases = units_of_phases(app)
    return {path for path, name in names if not name.startswith("hookd") and name not in phases}


def links(host: Host, *apps: App) -> dict[Path, Path]:
    """Return all links of a host with these apps."""
    return {item.path: item.target for item in items(host, *apps) if isinstance(item, Link)}


def items(host: Host, *apps: App) -> Iterator[File | Link]:
    """Return all files and links of a host with these apps."""
    yield from host_files(host, Catalogue(apps=apps))
    for app in apps:
        yield from app_files(app, host)


def unit(host: Host, name: str, *apps: App) -> Unit:
    """Return the directives of a unit and its drop-ins with their values in order, without sections."""
    found = files(host, *apps)
    texts = [
        found[UNITS / name].text,
        *(file.text for path, file in found.items() if path.parent == UNITS / f"{name}.d"),
    ]
    return directives("\n".join(texts))


def directives(text: str) -> Unit:
    """Read the directives of a unit."""
    result: Unit = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            result.setdefault(key, []).append(value)
    return result


def write_tree(root: Path, host: Host, *apps: App) -> None:
    """Write all files and links below a directory."""
    for item in items(host, *apps):
        path = root / item.path.relative_to("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, Link):
            path.symlink_to(root / item.target.relative_to("/"))
        else:
            path.write_text(item.text)
            path.chmod(item.mode)
