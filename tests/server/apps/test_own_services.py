"""Services that a person made and that work in an app's directory: restarted with each release, or named by doctor."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

UNIT: Final = """\
[Service]
User=www-data
Group=www-data
WorkingDirectory=/srv/shop/current
ExecStart=/usr/bin/sleep infinity
"""


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with two services of a person's in the app's directory, of which hookd knows one."""
    with servers.start(shop_layer(servers)) as machine:
        for name in ("shop-tasks", "forgotten"):
            machine.write(f"/etc/systemd/system/{name}.service", UNIT)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "shop-tasks", "forgotten")
        shop = Shop(machine)
        changes = ('service.restart_also=["shop-tasks.service"]', "limits.keep_releases=2")
        shop.hookd("app", "edit", "shop", *(word for change in changes for word in ("--set", change)))
        yield shop


def release_of(shop: Shop, unit: str) -> str:
    pid = shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
    return shop.machine.run("readlink", f"/proc/{pid}/cwd").stdout.strip().rpartition("/")[2]


def test_named_service_follows_each_release(shop: Shop) -> None:
    record = shop.push("v2")
    assert (record["status"], record["cause"]) == ("succeeded", None)
    assert release_of(shop, "shop-tasks") == record["release"]


def test_used_release_stays_and_is_named(shop: Shop) -> None:
    old = release_of(shop, "forgotten")
    for number in range(3, 7):
        record = shop.push(f"v{number}")
    assert record["status"] == "succeeded"
    left = {path.name for path in shop.machine.path("/srv/shop/releases").iterdir()}
    assert old in left and len(left) == 3
    assert f"the release {old} stays, because a process works in it" in shop.hookd("logs", "shop")
    doctor = shop.machine.run("hookd", "doctor", "shop", check=False).stdout
    assert f"forgotten.service works in {old}, which does not serve" in doctor
    assert "shop-tasks.service works" not in doctor
    shop.machine.run("systemctl", "stop", "forgotten")
    shop.push("v7")
    assert old not in {path.name for path in shop.machine.path("/srv/shop/releases").iterdir()}


def test_failed_restart_is_told(shop: Shop) -> None:
    shop.machine.write("/etc/systemd/system/shop-tasks.service", UNIT.replace("/usr/bin/sleep", "/usr/bin/nothing"))
    shop.machine.run("systemctl", "daemon-reload")
    record = shop.push("v8")
    assert (record["status"], shop.page()) == ("succeeded", "v8")
    assert "shop-tasks did not restart well" in record["cause"]
    shop.machine.write("/etc/systemd/system/shop-tasks.service", UNIT.replace("User=www-data\n", ""))
    shop.machine.run("systemctl", "daemon-reload")
    refused = shop.machine.run("hookd", "app", "edit", "shop", "--set", "health.deadline=9", check=False)
    assert refused.returncode != 0 and "runs as root" in refused.stdout + refused.stderr
