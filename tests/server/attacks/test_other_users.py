"""An app's user attacks another app without the sandbox, which could hide a missing owner."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

# Tries to reach an app: its name, a process, and its data directory.
_STRANGER = """
import json, os, resource, socket, sys

app, pid = sys.argv[1], int(sys.argv[2])

def connect():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"/run/hookd-apps/{app}.sock")

def tries(do):
    try:
        do()
    except OSError:
        return False
    return True

print(json.dumps([what for what, do in {
    "code": lambda: os.listdir(f"/srv/{app}"),
    "data": lambda: os.listdir(f"/var/lib/{app}/{sys.argv[3]}"),
    "signal": lambda: os.kill(pid, 0),
    "limits": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)),
    "socket": connect,
}.items() if tries(do)]))
"""
_DATA: Final = {"shop": "uploads", "blog": "logs"}
_UNITS: Final = {"shop": ("shop-blue.service", "shop-green.service"), "blog": ("blog.service",)}


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with two apps: the shop as www-data, and the blog as its own user."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        yield Shop(machine)


def reach_of(shop: Shop, user: str, app: str) -> list[str]:
    """Return the parts of an app that a user reaches."""
    printed = shop.machine.run("systemctl", "show", "--property=MainPID", "--value", *_UNITS[app]).stdout
    pid = max(printed.split(), key=int)
    assert pid != "0", printed
    argv = ("python3", "-c", _STRANGER, app, pid, _DATA[app])
    found: list[str] = json.loads(shop.machine.run(*argv, user=user).stdout)
    return found


@pytest.mark.threat(69, 73)
def test_apps_reach_nothing_of_each_other(shop: Shop) -> None:
    """nginx is www-data, as the first app is, so only the sandbox of that app closes the other's socket."""
    assert reach_of(shop, "blog", "shop") == []
    assert reach_of(shop, "www-data", "blog") == ["socket"]
    for user, app in (("blog", "blog"), ("www-data", "shop")):
        assert {"code", "data", "signal", "limits", "priority"} <= set(reach_of(shop, user, app))


@pytest.mark.threat(69, 71)
def test_removed_app_leaves_no_open_data(shop: Shop) -> None:
    """Close the data that stays, because the next user gets the removed one's number."""
    machine = shop.machine
    machine.write("/var/lib/blog/logs/orders", "private", 0o640, "blog:blog")
    uid = machine.path("/var/lib/blog/logs").stat().st_uid
    shop.hookd("app", "remove", "blog", "--yes")
    assert "blog" not in machine.read("/etc/passwd") + machine.read("/etc/group")
    machine.run("useradd", "--system", "--user-group", "--uid", str(uid), "heir")
    for place in ("/srv/blog", "/var/lib/blog/logs/orders"):
        assert machine.run("ls", place, user="heir", check=False).returncode
    machine.run("userdel", "heir")
    blog = Shop(machine, "blog")
    blog.add("--data", "logs", "--handover", "restart")
    assert machine.run("cat", "/var/lib/blog/logs/orders", user="blog").stdout == "private"
    assert reach_of(shop, "www-data", "blog") == ["socket"]
