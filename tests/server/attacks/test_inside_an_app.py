"""A hostile app attacks nginx and other apps, which run as www-data too."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

# A hostile app: each request tries to reach other processes of its user.
_SPY: Final = '''\
import json, os, socket

def tries(do):
    try:
        do()
    except OSError:
        return False
    return True

def connects(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(2)
        one.connect(path)

def own():
    """Return the control group of this app."""
    return open("/proc/self/cgroup").read()

def others():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/cgroup").read() != own():
                yield pid, open(f"/proc/{pid}/comm").read().strip()
        except OSError:
            continue

def reach():
    found = {}
    for pid, name in others():
        place = f"/proc/{pid}"
        found[f"{name} {pid}"] = [what for what, do in {
            "root": lambda: os.listdir(f"{place}/root/"),
            "directory": lambda: os.listdir(f"{place}/cwd/"),
            "memory": lambda: os.close(os.open(f"{place}/mem", os.O_RDWR)),
            "variables": lambda: open(f"{place}/environ").read(),
            "files": lambda: os.listdir(f"{place}/fd"),
            "receiver": lambda: connects(f"{place}/root/run/hookd/receiver.sock"),
        }.items() if tries(do)]
    sockets = ["/run/hookd/receiver.sock", "/run/hookd-redis/redis.sock", "/run/dbus/system_bus_socket"]
    return {"processes": found, "sockets": [path for path in sockets if tries(lambda: connects(path))]}

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(reach()).encode()]
'''


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with two apps, one of them hostile."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        shop = Shop(machine)
        assert shop.push("spy", {"wsgi.py": _SPY})["status"] == "succeeded"
        yield shop


@pytest.fixture(scope="module")
def reached(shop: Shop) -> dict[str, Any]:
    """The report of the hostile app."""
    report: dict[str, Any] = json.loads(shop.page())
    return report


@pytest.mark.threat(73)
def test_no_socket_is_reached(reached: dict[str, Any]) -> None:
    """Refuse the receiver, which nginx protects, and systemd, which starts units."""
    assert reached["sockets"] == []


@pytest.mark.threat(25, 73)
def test_other_processes_are_hidden(shop: Shop, reached: dict[str, Any]) -> None:
    """Protect nginx' traffic and TLS keys, and the other app's variables."""
    users = shop.machine.run("ps", "-o", "comm=", "-u", "www-data").stdout.split()
    assert {"nginx", "gunicorn"} <= set(users)
    assert {name: ways for name, ways in reached["processes"].items() if ways} == {}


@pytest.mark.threat(73)
def test_attack_works_without_the_sandbox(shop: Shop) -> None:
    """Prove that the attempts of the tests above are real."""
    machine = shop.machine
    release = machine.path("/srv/shop/current/wsgi.py").read_text()
    printed = machine.run("python3", "-c", f"{release}\nprint(json.dumps(reach()))", user="www-data").stdout
    found = json.loads(printed)
    assert {"/run/hookd/receiver.sock", "/run/dbus/system_bus_socket"} <= set(found["sockets"])
    assert any("receiver" in ways for name, ways in found["processes"].items() if name.startswith("nginx"))
