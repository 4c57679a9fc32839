"""`hookd uninstall` on a real server leaves the fresh host and the data of apps, and can be interrupted."""

from collections.abc import Iterator
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

# What the apps' own commits and data are in, and what this test puts on both servers.
DATA: Final = ("/srv/shop", "/srv/blog", "/var/lib/shop", "/var/lib/blog")


@pytest.fixture(scope="module")
def fresh(servers: Servers) -> Iterator[Machine]:
    """A Debian that never saw hookd, with the git host of these tests."""
    with servers.start() as machine:
        host = git_host(machine)
        for name in ("shop", "blog"):
            host.repository(f"acme/{name}")
        yield machine


@pytest.fixture
def server(servers: Servers) -> Iterator[Machine]:
    """A server with two apps and a file that a visitor has left."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        machine.write("/var/lib/shop/uploads/cat.jpg", "a cat", 0o640, "www-data:www-data")
        machine.write("/var/lib/blog/logs/blog.log", "a line", 0o640, "www-data:www-data")
        machine.write("/srv/shop/shared/.env", "DEBUG=0\n", 0o640, "manager:www-data")
        machine.run("hookd", "freeze", "blog", "--reason", "it will go")
        yield machine


def others(machine: Machine) -> dict[str, Entry]:
    """The files of a server but for the apps' data, the commits that were pushed, and the checkout."""
    passing = tuple(f"{path}/" for path in (*DATA, "/opt/githost/made", CHECKOUT))
    files = machine.files().items()
    return {path: entry for path, entry in files if not f"{path}/".startswith(passing)}


def units(machine: Machine) -> set[str]:
    """Every unit that systemd knows of, those that come and go by themselves left out."""
    listed = machine.run("systemctl", "list-unit-files", "--plain", "--no-legend").stdout.splitlines()
    loaded = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend").stdout.splitlines()
    return {line.split()[0] for line in (*listed, *loaded) if line.startswith(("hookd", "shop", "blog"))}


def test_uninstall_leaves_the_fresh_host_and_the_apps_data(server: Machine, fresh: Machine) -> None:
    served = {path.name: path.read_bytes() for path in server.path("/srv/shop/releases").rglob("*.py")}
    printed = server.run("hookd", "uninstall", "--yes").stdout
    assert others(server) == others(fresh)
    assert accounts(server) == accounts(fresh)
    assert units(server) == set()
    assert server.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert server.read("/var/lib/shop/uploads/cat.jpg") == "a cat"
    assert server.read("/srv/shop/shared/.env") == "DEBUG=0\n"
    assert {path.name: path.read_bytes() for path in server.path("/srv/shop/releases").rglob("*.py")} == served
    assert [line.split()[-1] for line in printed.splitlines() if "stays:" in line] != []
    again = server.run("hookd", "uninstall", "--yes", check=False)
    assert again.returncode == 127


def test_an_uninstall_that_is_killed_goes_on_where_it_was(server: Machine, fresh: Machine) -> None:
    interrupted(server, "uninstall", "--yes", every=30)
    assert others(server) == others(fresh)
    assert accounts(server) == accounts(fresh)
    assert units(server) == set()


def test_removing_an_app_leaves_its_data_and_the_other_app(server: Machine) -> None:
    printed = server.run("hookd", "app", "remove", "blog", "--yes").stdout
    left = [path for path in server.files() if "blog" in path and not path.startswith(("/opt/githost", "/var/log"))]
    assert {path for path in left if not path.startswith(("/srv/blog", "/var/lib/blog"))} == set()
    assert {"/srv/blog", "/var/lib/blog", "/var/lib/blog/logs"} <= set(left)
    assert {line.split()[-1] for line in printed.splitlines() if "stays:" in line} >= {"/srv/blog", "/var/lib/blog"}
    assert {unit for unit in units(server) if unit.startswith("blog")} == set()
    assert "blog" not in server.run("sudo", "-n", "-l", user="manager").stdout
    shop = Shop(server)
    assert shop.push("still here")["status"] == "succeeded"
    assert shop.page() == "still here"
