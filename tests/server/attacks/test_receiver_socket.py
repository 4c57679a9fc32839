"""Pushed code names no client to the receiver, because fail2ban would ban that address."""

import errno
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

SOCKET: Final = "/run/hookd/receiver.sock"
UNITS: Final = "/etc/systemd/system"
FORGER: Final = "/usr/local/lib/forger.py"
# Sends a wrong signature for another client. Ends with the error number of the connection.
_FORGE: Final = f"""
import socket, sys

def forge(client):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        try:
            one.connect("{SOCKET}")
        except OSError as error:
            return error.errno
        lines = ("POST /hooks/shop HTTP/1.1", "Host: x", f"X-Forwarded-For: {{client}}", "Content-Length: 0", "", "")
        one.sendall("\\r\\n".join(lines).encode())
        return 0 if b" 401 " in one.recv(100) else 1
"""
_APP: Final = f"""{_FORGE}
import os
print("forged as", os.getuid(), forge("203.0.113.1"), flush=True)

def app(environ, start_response):
    start_response("200 OK", [])
    return [str(forge("203.0.113.2")).encode()]
"""


_ONLY_THE_SANDBOX: Final = """[Service]
Type=oneshot
Restart=no
RemainAfterExit=no
WorkingDirectory=/
StandardInput=null
StandardOutput=journal
ExecStartPre=
ExecStopPost=
ExecStart=
"""


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app, and a program that forges."""
    with servers.start(shop_layer(servers)) as machine:
        machine.wait_until(lambda: machine.unit_state("hookd.service") == "active", what="the receiver")
        # Otherwise it may deploy a commit before its delivery comes.
        machine.run("systemctl", "stop", "hookd-reconcile.timer")
        machine.write(FORGER, f"{_FORGE}\nsys.exit(forge(sys.argv[1]))\n")
        yield Shop(machine)


def forge(machine: Machine, client: str, user: str) -> int:
    """Run the forger as a user, and return its exit status."""
    return machine.run("python3", FORGER, client, user=user, check=False).returncode


def forge_in_unit(machine: Machine, unit: str, client: str) -> int:
    """Run the forger in the sandbox of a unit, and return its exit status."""
    machine.write("/run/systemd/system/forger@.service", machine.read(f"{UNITS}/{unit}"))
    lines = f"{_ONLY_THE_SANDBOX}ExecStart=/usr/bin/python3 {FORGER} {client}\n"
    machine.write("/run/systemd/system/forger@.service.d/zz.conf", lines)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "forger@1.service", check=False)
    return int(machine.run("systemctl", "show", "-P", "ExecMainStatus", "forger@1.service").stdout)


def clients(machine: Machine) -> set[str]:
    """Return the clients of refused signatures, as fail2ban reads them."""
    return set(re.findall(r'"refused signature".*?"client": "([^"]+)"', machine.journal("hookd.service")))


def units_of_pushed_code(machine: Machine) -> list[str]:
    """Return the units that deploy, build, check or serve an app."""
    found = machine.run("grep", "-r", "^User=", UNITS, "--include=*.service").stdout.split()
    users = {path.rpartition("/")[2]: user for path, user in (line.split(":User=") for line in found)}
    return sorted(unit for unit, user in users.items() if user not in ("hookd", "hookd-redis"))


@pytest.mark.threat(9)
def test_web_user_forges_without_sandbox(shop: Shop) -> None:
    """Prove that the attempts of the tests below are real: nginx runs as this user."""
    assert forge(shop.machine, "203.0.113.3", "www-data") == 0
    shop.machine.wait_until(lambda: "203.0.113.3" in clients(shop.machine), what="the forged client")


@pytest.mark.threat(9)
def test_push_forges_no_client(shop: Shop) -> None:
    """Try it while a commit is checked, and while it serves."""
    record = shop.push("forger", {"wsgi.py": _APP})
    assert record["status"] == "succeeded"
    log = shop.machine.read(f"/var/log/hookd/shop/{record['id']}.log")
    assert re.findall(r"forged as \d+ (\d+)", log) == [str(errno.EACCES)]
    assert shop.page() == str(errno.EACCES)
    assert not {"203.0.113.1", "203.0.113.2"} & clients(shop.machine)


@pytest.mark.threat(9)
def test_worker_user_forges_no_client(shop: Shop) -> None:
    """Refuse it outside of units, too."""
    for user in ("manager", "hookd", "nobody"):
        assert forge(shop.machine, "203.0.113.4", user) == errno.EACCES, user
    assert "203.0.113.4" not in clients(shop.machine)


@pytest.mark.threat(9, 73)
def test_units_hide_an_open_socket(shop: Shop) -> None:
    """Refuse it in each unit of pushed code, whatever the mode of the socket."""
    machine = shop.machine
    units = units_of_pushed_code(machine)
    assert {"hookd-worker@.service", "hookd-reconcile.service", "shop.service", "shop-blue.service"} <= {*units}
    machine.run("chmod", "666", SOCKET)
    assert forge(machine, "203.0.113.5", "manager") == 0
    assert {unit: forge_in_unit(machine, unit, "203.0.113.6") for unit in units} == dict.fromkeys(units, errno.EACCES)
    machine.run("chmod", "600", SOCKET)
    assert "203.0.113.6" not in clients(machine)
