"""A port that another user took from an app's own command: its answers count for no release."""

import json
from typing import Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, set_up_layer

# Each waits until the port is free, as some servers do.
SERVER: Final = """\
import http.server, time
while True:
    try:
        http.server.ThreadingHTTPServer(("127.0.0.1", 8001), http.server.SimpleHTTPRequestHandler).serve_forever()
    except OSError:
        time.sleep(0.05)
"""


@pytest.mark.threat(28)
def test_taken_port_fails_the_deployment(servers: Servers) -> None:
    with servers.start(set_up_layer(servers)) as machine:
        shop = Shop(machine)
        command = f"service.command={json.dumps(['python3', '-c', SERVER])}"
        shop.add("--handover", "restart", "--listen", "127.0.0.1:8001", "--set", command, "--health", "/")
        assert shop.push("v2")["status"] == "succeeded"
        machine.run("systemctl", "stop", "shop.service")
        machine.run("systemd-run", "--unit=thief", "--uid=nobody", "python3", "-c", SERVER)
        record = shop.push("v3")
        assert record["status"] in ("failed", "rolled_back", "rollback_failed")
        assert "127.0.0.1:8001 is held by another user: nobody" in record["cause"]
        machine.run("systemctl", "stop", "thief.service")
        assert shop.push("v4")["status"] == "succeeded"
