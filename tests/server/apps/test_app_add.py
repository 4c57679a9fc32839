"""Apps that `hookd app add` adds, one per policy: deployment, display, and file permissions."""

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hookd.files.ownership.attributes import ACCESS_ACL, DEFAULT_ACL, readers_acl
from tests.support.server.commands import Done, account
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, set_up_layer

FLAGS: Final = ("--handover", "restart", "--data", "uploads", "--file", ".env")
# Each app's policy, and the arguments of `app add NAME`.
POLICIES: Final = {"shop": "group", "blog": "split", "wiki": "acl"}
WISHES: Final = {
    "shop": ("--domain", "shop.example.org", "--handover", "blue-green", "--data", "uploads", "--file", ".env"),
    "blog": ("--from", "/root/blog.toml"),
    "wiki": ("--domain", "wiki.example.org", "--policy", "acl", *FLAGS),
}
BLOG: Final = """\
repository = "git@git.example.org:acme/blog.git"
full_name = "acme/blog"
sender = "gitea"
root = "/srv/blog"
deploy_key = "/var/lib/hookd/keys/blog"

[shared]
files = [".env"]
directories = ["uploads"]
data = "/var/lib/blog"

[ownership]
policy = "split"

[service]
units = "hookd"
workers = 1

[health]
url = "unix:/run/hookd-apps/blog.sock:/healthz"

[site]
domain = "blog.example.org"
"""
# The first app of the host is www-data, each later one has a user of its own.
USERS: Final = {"shop": "www-data", "blog": "blog", "wiki": "wiki"}
# Owner and group, and the modes of files, programs and directories; with `acl` the app's user has an entry of its own.
DECLARED: Final = {
    "group": ("manager", "www-data", (0o640, 0o750, 0o2750)),
    "split": ("manager", "manager", (0o644, 0o755, 0o755)),
    "acl": ("manager", "manager", (0o640, 0o750, 0o750)),
}
WRITES: Final = '''\
def app(environ, start_response):
    """Write into the data directory and answer with the shared file."""
    with open("uploads/visitor", "w") as file:
        file.write("was here")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [open(".env", "rb").read()]
'''

OWN_SERVER: Final = {
    "Dockerfile": 'FROM python:3.11\nEXPOSE 5000\nCMD ["python", "run.py", "-d", "/datastore"]\n',
    "requirements.txt": "",
    "run.py": """\
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler

open(f"{sys.argv[2]}/index.html", "w").write("its own server")
handler = lambda *given: SimpleHTTPRequestHandler(*given, directory=sys.argv[2])
HTTPServer(("127.0.0.1", 5000), handler).serve_forever()
""",
}


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server that is set up, to which the tests add apps."""
    with servers.start(set_up_layer(servers)) as machine:
        machine.write("/root/blog.toml", BLOG)
        yield machine


@pytest.fixture(scope="module", params=POLICIES)
def app(server: Machine, request: pytest.FixtureRequest) -> Shop:
    """An app that was added twice, with its key pasted in between."""
    app = Shop(server, request.param)
    app.commit("v1")
    app.paste_key(add(app, check=app.name == "blog").stdout)
    again = add(app)
    assert "First deployment:" in again.stdout, again.stdout
    return app


def add(app: Shop, *, check: bool = True) -> Done:
    """Add the app as a person types it. The first try without a file ends with the key to paste."""
    where = () if "--from" in WISHES[app.name] else ("--repo", app.repository.url)
    return app.machine.run("hookd", "app", "add", app.name, *where, *WISHES[app.name], check=check)


@pytest.mark.promise(35)
def test_app_is_deployed_once_readable(app: Shop) -> None:
    assert app.page() == "v1"
    (only,) = deployments(app)
    assert re.fullmatch(rf"{app.name}-\S+", only)
    third = add(app)
    assert "Paste at the git host" in third.stdout
    assert len(deployments(app)) == 2


def deployments(app: Shop) -> list[str]:
    """Return the ids of the app's deployments."""
    return re.findall(r'"id": "([^"]+)"', app.hookd("status", app.name, "--json"))


def test_app_is_listed_and_shown(app: Shop) -> None:
    name = app.name
    assert f"{name:<20} acme/{name} main  /srv/{name}" in app.hookd("app", "list").splitlines()
    shown, values = app.hookd("app", "show", name).split("\nPaste at the git host, for ")
    table = tomllib.loads(shown)
    assert (table["full_name"], table["root"], table["site"]["domain"]) == (f"acme/{name}", f"/srv/{name}", app.domain)
    if name == "blog":
        written = tomllib.loads(BLOG)
        assert table == {**written, "ownership": {"policy": "split", "user": "blog"}}
    assert table.get("ownership", {"policy": "group"})["policy"] == POLICIES[name]
    lines = dict(re.findall(r"^  (\w+(?: \w+)?) +(.+)$", values, re.MULTILINE))
    assert lines["webhook URL"] == f"http://{RECEIVER_DOMAIN}/hooks/{name}"
    assert lines["secret"] == app.secret == app.hookd("secret", "show", name).strip()
    assert lines["deploy key"].startswith(" ".join(app.machine.read(f"/var/lib/hookd/keys/{name}.pub").split()[:2]))


@pytest.mark.threat(27)
def test_releases_follow_their_policy(app: Shop) -> None:
    assert app.push("v2", {"wsgi.py": WRITES, "bin/run": "#!/bin/sh\n"})["status"] == "succeeded"
    assert f"{app.name}'s own .env" in app.page()
    assert app.machine.read(f"/var/lib/{app.name}/uploads/visitor") == "was here"
    assert len(list(app.machine.path(f"/srv/{app.name}/releases").iterdir())) >= 2
    for place in ("releases", "venvs"):
        assert deviating(app, f"/srv/{app.name}/{place}") == []
    uploads = app.machine.path(f"/var/lib/{app.name}/uploads").stat()
    assert owner_of(app.machine, uploads) == (USERS[app.name], USERS[app.name], 0o2770)


def deviating(app: Shop, directory: str) -> list[str]:
    """Return the paths of a deployed directory that break the policy."""
    top = app.machine.path(directory)
    below = [Path(above) / name for above, names, files in os.walk(top) for name in (*names, *files)]
    assert len(below) > 3
    return [str(path) for path in (top, *below) if not path.is_symlink() and not is_declared(app, path)]


def is_declared(app: Shop, path: Path) -> bool:
    """Return True if owner, group, mode and ACLs follow the policy."""
    user, group, modes = DECLARED[POLICIES[app.name]]
    status = path.lstat()
    mode = modes[1] if status.st_mode & 0o100 else modes[0]
    if stat.S_ISDIR(status.st_mode):
        mode = modes[2]
    if path.name == "releases":  # nginx passes.
        mode |= 0o001
    if "venvs" in path.parts and not path.is_dir():  # Environments share files.
        mode &= ~0o222
    acls = {name: os.getxattr(path, name) for name in os.listxattr(path) if name in (ACCESS_ACL, DEFAULT_ACL)}
    wanted = {}
    if POLICIES[app.name] == "acl":
        readers = sorted(account(app.machine.disk, name).uid for name in (USERS[app.name], f"hookd-build-{app.name}"))
        entry = readers_acl(tuple(readers), mode)
        wanted = {ACCESS_ACL: entry, **({DEFAULT_ACL: entry} if path.is_dir() else {})}
    return owner_of(app.machine, status) == (user, group, mode) and acls == wanted


def owner_of(machine: Machine, status: os.stat_result) -> tuple[str, str, int]:
    """Return owner, group and mode by the names that the machine knows."""
    users = {int(line.split(":")[2]): line.split(":")[0] for line in machine.read("/etc/passwd").splitlines()}
    groups = {int(line.split(":")[2]): line.split(":")[0] for line in machine.read("/etc/group").splitlines()}
    return users[status.st_uid], groups[status.st_gid], status.st_mode & 0o7777


def test_permissions_are_listed_and_repaired(app: Shop) -> None:
    name = app.name
    release = Path("/srv", name, app.machine.path(f"/srv/{name}/current").readlink())
    places = {f"{release}/wsgi.py": "0666", f"{release}/bin/run": "0770", f"/srv/{name}/shared/.env": "0644"}
    before = permissions(app)
    assert (before.returncode, before.stdout) == (0, f"{name}: all paths match the policy {POLICIES[name]}\n")
    for path, mode in places.items():
        app.machine.run("chmod", mode, path)
    for _ in range(2):  # Listing repairs nothing.
        found = permissions(app)
        assert found.returncode == 1
        *lines, count, hint = found.stdout.splitlines()
        assert {line.split(" ")[0] for line in lines} == set(places), lines
        assert all(re.search(rf" is \S+ {places[line.split(' ')[0]]}.*, should be ", line) for line in lines), lines
        assert count == f"{name}: 3 paths against the policy {POLICIES[name]}"
        assert hint == f"  next: sudo hookd permissions {name} --fix"
    fixed = permissions(app, "--fix")
    assert fixed.returncode == 0, fixed.stdout
    assert f"{name}: 3 paths repaired\n{name}: all paths match the policy" in fixed.stdout
    assert permissions(app).returncode == 0
    assert deviating(app, f"/srv/{name}/releases") == []


def permissions(app: Shop, *options: str) -> Done:
    """Type the command as root."""
    return app.machine.run("hookd", "permissions", app.name, *options, check=False)


@pytest.mark.parametrize("app", ["shop"], indirect=True)
def test_unusable_environment_is_repaired(app: Shop) -> None:
    """Repair without root: only the set-group-ID bit is out of reach in the worker's sandbox."""
    app.machine.run("chmod", "-R", "640", "/srv/shop/venvs")
    record = app.push("after chmod")
    assert (record["status"], app.page()) == ("succeeded", "after chmod")
    assert app.hookd("permissions", "shop") == "shop: all paths match the policy group\n"


@pytest.mark.parametrize("app", ["shop"], indirect=True)
def test_root_repairs_the_environment(app: Shop) -> None:
    page = app.page()
    app.machine.run("chmod", "-R", "640", "/srv/shop/venvs")
    (gunicorn,) = app.machine.path("/srv/shop/venvs").glob("*/bin/gunicorn")
    assert stat.S_IMODE(gunicorn.stat().st_mode) == 0o640
    assert permissions(app).returncode == 1
    assert permissions(app, "--fix").returncode == 0
    assert stat.S_IMODE(gunicorn.stat().st_mode) == 0o550
    app.hookd("restart", "shop")
    app.machine.wait_until(lambda: app.page() == page, what="the page after the restart")


def test_gunicorn_listens_on_known_sockets_only(server: Machine, app: Shop) -> None:
    """Find no control socket, which any process of the same user could use."""
    apps = [one for one in POLICIES if server.path(f"/run/hookd-apps/{one}.sock").exists()]
    wanted = {"/run/hookd/receiver.sock", *(f"/run/hookd-apps/{one}.sock" for one in apps)}
    printed = server.run("ss", "--listening", "--unix", "--processes", "--no-header").stdout
    lines = [line for line in printed.splitlines() if re.search(r'"(gunicorn|hookd|python3?)"', line)]
    sockets = {word for line in lines for word in line.split() if word.startswith(("/", "@"))}
    assert {socket for socket in sockets if not re.fullmatch(r".*/shop-(blue|green)\.sock", socket)} == wanted, lines
    assert app.name in str(sockets)


def test_own_server_goes_live(server: Machine) -> None:
    """A server of the app's own, as its Dockerfile starts it, listens where nginx asks."""
    app = Shop(server, "own")
    app.repository.commit_and_push(OWN_SERVER, "v1")
    app.allow_reading()
    app.hookd("app", "add", "own", "--repo", app.repository.url, "--domain", app.domain, "--yes")
    assert app.page() == "its own server"
