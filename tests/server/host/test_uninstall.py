"""`hookd uninstall` on a real server leaves the fresh host and the data of apps, and can be interrupted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.server.interrupted import interrupted
from tests.support.server.machine import Machine
from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import CHECKOUT, Shop
from tests.support.server.sshgit import git_host
from tests.support.server.tree import Entry
from tests.support.server.unchanged import accounts

# The directories of the apps' commits and data.
DATA: Final = ("/srv/shop", "/srv/blog", "/var/lib/shop", "/var/lib/blog")
# Files that a person wrote, and their directories.
WRITTEN: Final = ("/etc/hookd/worker.env", "/etc/hookd/env/shop", "/etc/hookd/env/blog")
ABOVE: Final = ("/etc/hookd", "/etc/hookd/env")
# Files that differ between hosts: lists of users, in their order of creation, and the machine id.
HOST_FILES: Final = r"/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|machine-id)"


@pytest.fixture(scope="module")
def fresh(servers: Servers) -> Iterator[Machine]:
    """A Debian without hookd, with the git host of these tests."""
    with servers.start() as machine:
        host = git_host(machine)
        for name in ("shop", "blog"):
            host.repository(f"acme/{name}")
        yield machine


@pytest.fixture
def server(servers: Servers) -> Iterator[Machine]:
    """A server with two apps and a visitor's file."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        machine.write("/var/lib/shop/uploads/cat.jpg", "a cat", 0o640, "www-data:www-data")
        machine.write("/var/lib/blog/logs/blog.log", "a line", 0o640, "www-data:www-data")
        machine.write("/srv/shop/shared/.env", "DEBUG=0\n", 0o640, "manager:www-data")
        machine.shell("echo '# seen' >> /etc/hookd/worker.env; echo GREETING=hello >> /etc/hookd/env/shop")
        machine.run("hookd", "freeze", "blog", "--reason", "it will go")
        yield machine


def system_files(machine: Machine) -> dict[str, Entry]:
    """Return the files of a server without apps' data, pushed commits and the checkout."""
    passing = tuple(f"{path}/" for path in (*DATA, *WRITTEN, "/opt/githost/made", CHECKOUT))
    files = machine.files().items()
    return {path: entry for path, entry in files if not f"{path}/".startswith(passing) and path not in ABOVE}


def contents(machine: Machine) -> dict[str, str]:
    """Return the digests of all files in /etc but the lists of users, which `accounts` compares."""
    lines = machine.shell("find /etc -type f -print0 | xargs -0 sha256sum").splitlines()
    digests = {line[66:]: line[:64] for line in lines if line[66:] not in WRITTEN}
    return {path: digest for path, digest in digests.items() if not re.fullmatch(HOST_FILES, path)}


def units(machine: Machine) -> set[str]:
    """Return every unit of hookd and the apps that systemd knows."""
    listed = machine.run("systemctl", "list-unit-files", "--plain", "--no-legend").stdout.splitlines()
    loaded = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend").stdout.splitlines()
    return {line.split()[0] for line in (*listed, *loaded) if line.startswith(("hookd", "shop", "blog"))}


@pytest.mark.threat(71)
@pytest.mark.promise(50)
def test_uninstall_leaves_a_fresh_host(server: Machine, fresh: Machine) -> None:
    served = {path.name: path.read_bytes() for path in server.path("/srv/shop/releases").rglob("*.py")}
    before, shown = server.files(), server.run("hookd", "uninstall", "--dry-run").stdout
    assert server.files() == before
    printed = server.run("hookd", "uninstall", "--yes").stdout
    assert_is_fresh(server, fresh)
    assert server.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert server.read("/var/lib/shop/uploads/cat.jpg") == "a cat"
    assert server.read("/srv/shop/shared/.env") == "DEBUG=0\n"
    assert "GREETING=hello" in server.read("/etc/hookd/env/shop")
    assert all(server.path(path).stat().st_mode & 0o777 == 0o600 for path in WRITTEN)
    assert {path.name: path.read_bytes() for path in server.path("/srv/shop/releases").rglob("*.py")} == served
    again = server.run("hookd", "uninstall", "--yes", check=False)
    assert again.returncode == 127
    assert_was_shown(shown, printed, set(before), set(server.files()))


def assert_is_fresh(server: Machine, fresh: Machine) -> None:
    """Check that nothing of hookd is left and nothing else changed."""
    assert system_files(server) == system_files(fresh)
    assert accounts(server) == accounts(fresh)
    assert contents(server) == contents(fresh)
    assert units(server) == set()


def assert_was_shown(shown: str, printed: str, before: set[str], after: set[str]) -> None:
    """Check that --dry-run showed all removals, also those of its commands, and all files that stay."""
    named = set(re.findall(r"^- remove +(/\S+)", shown, re.MULTILINE))
    commands, ran = (re.findall(r"^\+ run +(.+)$", text, re.MULTILINE) for text in (shown, printed))
    assert commands == ran != []
    removed = {path for path in before - after if not is_unit_link(path, " ".join(commands))}
    assert {path for path in removed if not any(f"{path}/".startswith(f"{name}/") for name in named)} == set()
    kept, announced = (set(re.findall(r"^  stays: (.+)$", text, re.MULTILINE)) for text in (printed, shown))
    assert kept == announced >= {*WRITTEN, *ABOVE}
    assert named & after == set()


def is_unit_link(path: str, commands: str) -> bool:
    """Return True if a path is the link of an enabled unit that the commands disable, or its directory."""
    is_link = Path(path).parent.suffix == ".wants" and Path(path).name in commands.split()
    return is_link or Path(path).suffix == ".wants"


@pytest.mark.threat(70, 71)
def test_app_removal_keeps_everything_else(server: Machine, fresh: Machine) -> None:
    """Remove one app, then uninstall the rest with kills."""
    printed = server.run("hookd", "app", "remove", "blog", "--yes").stdout
    left = [
        path
        for path in server.files()
        if "blog" in path and not path.startswith(("/opt/githost", "/root/hookd", "/var/log"))
    ]
    assert {path for path in left if not path.startswith(("/srv/blog", "/var/lib/blog"))} == {"/etc/hookd/env/blog"}
    assert {"/srv/blog", "/var/lib/blog", "/var/lib/blog/logs"} <= set(left)
    stays = {line.split()[-1] for line in printed.splitlines() if "stays:" in line}
    assert stays >= {"/srv/blog", "/var/lib/blog", "/etc/hookd/env/blog"}
    assert {unit for unit in units(server) if unit.startswith("blog")} == set()
    assert "blog" not in server.run("sudo", "-n", "-l", user="manager").stdout
    shop = Shop(server)
    assert shop.push("still here")["status"] == "succeeded"
    assert shop.page() == "still here"
    interrupted(server, "uninstall", "--yes", every=30)
    assert_is_fresh(server, fresh)
