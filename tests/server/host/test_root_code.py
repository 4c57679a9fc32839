"""Programs and configuration of root on a real server belong to root, so that no other user can change them."""

import json
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers

# Prints each part of a path, and of its links, that another user can change.
_LOOK: Final = """
import os, stat, sys

def way(path):
    here = "/"
    for part in os.path.normpath(path).split("/")[1:]:
        here = os.path.join(here, part)
        if os.path.islink(here):
            yield here
            yield from way(os.path.join(os.path.dirname(here), os.readlink(here)))
            here = os.path.realpath(here)
        elif os.path.lexists(here):
            yield here

for path in sys.stdin.read().splitlines():
    for place in way(path):
        status = os.lstat(place)
        if stat.S_ISCHR(status.st_mode):  # A masked unit leads to /dev/null.
            continue
        open_for = 0 if stat.S_ISLNK(status.st_mode) else 0o002 if status.st_gid == 0 else 0o022
        if status.st_uid != 0 or status.st_mode & open_for:
            print(f"{path}: {place} {status.st_uid}:{status.st_gid} {status.st_mode:o}")
"""
_PYTHON: Final = """
import json, pathlib, sys
sites = [path for path in sys.path if path.endswith("-packages")]
pths = [str(file) for site in sites for file in pathlib.Path(site).glob("*.pth")]
led = [line for file in pths for line in open(file).read().split() if line.startswith("/")]
import hookd.cli, units.setup, worker.job
files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
print(json.dumps([sys.executable, *sys.path, *pths, *led, *files]))
"""
_PROPERTIES: Final = "Id,FragmentPath,DropInPaths,EnvironmentFiles,User,ExecStart,ExecStartPre,ExecReload,ExecStop"
_CONFIGURED: Final = ("/etc", "/opt", "/usr", "/root", "/boot", "/var/spool/cron")


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with two apps and an administrator with all sudo rights."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        machine.run("useradd", "--create-home", "admin")
        machine.write("/etc/sudoers.d/admin", "admin ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
        yield machine


def open_to_others(machine: Machine, paths: set[str]) -> list[str]:
    """Return the paths that a user other than root can change, with the open place."""
    return machine.run("python3", "-c", _LOOK, input="\n".join(sorted(paths))).stdout.splitlines()


def paths_of_unit(shown: str) -> set[str]:
    """Return the paths that systemd reads and runs as root for a unit."""
    lines = [line for line in shown.splitlines() if not line.startswith("Exec") or is_roots(shown)]
    return {path for line in lines for path in re.findall(r"(?<![\w/.-])/[^\s;:)]+", line)}


def credentials(machine: Machine) -> set[str]:
    """Return the paths of credentials, which `systemctl show` does not print."""
    text = machine.run("sh", "-c", "cat /etc/systemd/system/*.service").stdout
    return set(re.findall(r"^LoadCredential=\w+:(.+)$", text, re.MULTILINE))


def is_roots(shown: str) -> bool:
    """Return True if a unit runs as root."""
    return re.search(r"^User=(?!root$).+", shown, re.MULTILINE) is None


@pytest.mark.threat(26)
def test_systemd_files_belong_to_root(server: Machine) -> None:
    files = server.run("systemctl", "list-unit-files", "--plain", "--no-legend").stdout.splitlines()
    units = [line.split()[0] for line in files if "@." not in line.split()[0]]
    shown = server.run("systemctl", "show", f"--property={_PROPERTIES}", "*", *units).stdout.split("\n\n")
    paths = set().union(credentials(server), *(paths_of_unit(unit) for unit in shown))
    assert {
        *("/etc/systemd/system/shop.service", "/etc/systemd/system/hookd-worker@.service.d/apps.conf"),
        *("/etc/hookd/env/blog", "/etc/hookd/secrets", "/etc/hookd/redis/worker", "/etc/hookd/worker.env"),
        "/opt/hookd/current/venv/bin/python",
    } <= paths
    # A build's unit names the app's directory. Root changes owners there, and runs nothing of it.
    assert open_to_others(server, paths - {"/srv/shop", "/srv/blog"}) == []


def test_system_files_belong_to_root(server: Machine) -> None:
    """Check programs and settings, such as those of sudo, nginx, cron and PAM."""
    listed = {place for place in _CONFIGURED if server.path(place).exists()}
    found = server.run("find", *listed, "(", "!", "-uid", "0", "-o", "-perm", "-0002", ")", "!", "-type", "l").stdout
    assert found == ""
    writable = server.run("find", *listed, "-perm", "-0020", "!", "-type", "l", "!", "-gid", "0", "-printf", "%g %p\n")
    # Debian's group for /usr/local has no members.
    assert {line.split()[0] for line in writable.stdout.splitlines()} <= {"staff"}
    assert server.run("getent", "group", "staff").stdout.strip().endswith(":")


def test_nginx_files_belong_to_root(server: Machine) -> None:
    printed = server.run("nginx", "-T", "-q").stdout
    paths = set(re.findall(r"^# configuration file (.+):$", printed, re.MULTILINE))
    assert "/etc/nginx/sites-enabled/hookd-shop" in paths
    assert open_to_others(server, paths) == []


@pytest.mark.threat(26)
def test_python_imports_belong_to_root(server: Machine) -> None:
    printed = server.run("/opt/hookd/current/venv/bin/python", "-P", "-c", _PYTHON).stdout
    paths = {path for path in json.loads(printed) if path.startswith("/")}
    assert "/usr/local/bin/hookd" not in paths
    assert open_to_others(server, {*paths, "/usr/local/bin/hookd", "/opt/hookd/current/venv/bin/gunicorn"}) == []


# --- a trap of the worker's user

TRAP: Final = "/var/tmp/trap"
TRIGGER: Final = "open('/trapped', 'a').write(__file__ + '\\n')\n"
NAMES: Final = (
    "click",
    "tomlkit",
    "pydantic",
    "redis",
    "runpy",
    "fcntl",
    "sitecustomize",
    "usercustomize",
    "encodings",
)
COMMANDS: Final = ("app list", "app show shop", "status", "restart blog", "permissions shop", "setup --dry-run")


@pytest.fixture(scope="module")
def trap(server: Machine) -> str:
    """A directory of the worker's user with modules that Python could import from there."""
    for room in ("hookd", "hookd/cli", "units", "worker", "encodings"):
        server.write(f"{TRAP}/{room}/__init__.py", TRIGGER, owner="manager:manager")
    for name in NAMES:
        server.write(f"{TRAP}/{name}.py", TRIGGER, owner="manager:manager")
    server.write(f"{TRAP}/pyvenv.cfg", f"home = {TRAP}\n", owner="manager:manager")
    server.write(f"{TRAP}/hookd.toml", "state = '/trapped-state'\n", owner="manager:manager")
    server.write(f"{TRAP}/systemctl", "#!/bin/sh\ntouch /trapped\n", 0o755, owner="manager:manager")
    server.write(f"{TRAP}/.git/config", f"[core]\n\tfsmonitor = {TRAP}/systemctl\n", owner="manager:manager")
    return TRAP


def test_trap_works(server: Machine, trap: str) -> None:
    server.run("python3", "-c", "import click", directory=trap)
    assert "click.py" in server.read("/trapped")
    server.path("/trapped").unlink()


@pytest.mark.threat(26, 67)
@pytest.mark.parametrize("command", COMMANDS)
def test_root_imports_nothing_from_the_directory(server: Machine, trap: str, command: str) -> None:
    server.run("hookd", *command.split(), directory=trap)
    assert not server.path("/trapped").exists()


@pytest.mark.threat(67)
def test_sudo_drops_dangerous_variables(server: Machine, trap: str) -> None:
    settings = {
        "PYTHONPATH": trap,
        "PYTHONHOME": trap,
        "PYTHONSTARTUP": f"{trap}/click.py",
        "HOOKD_CONFIG": f"{trap}/hookd.toml",
    }
    lines = {**settings, "PYTHONUSERBASE": trap, "PATH": f"{trap}:/usr/bin:/bin", "BASH_ENV": f"{trap}/systemctl"}
    printed = server.run("sudo", "-n", "hookd", "app", "list", user="admin", directory=trap, env=lines).stdout
    assert {line.split()[0] for line in printed.splitlines()} == {"blog", "shop"}
    assert not server.path("/trapped").exists()
