"""Commands that are killed repeatedly on a real server continue with the next run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.server.interrupted import interrupted, killed_at
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import CHECKOUT, RECEIVER_DOMAIN, Shop, set_up_layer, shop_layer
from tests.support.server.sshgit import git_host
from tests.support.server.unchanged import accounts
from tests.support.server.web import push

# Paths that differ between two servers.
STATE: Final = (
    *("/var/lib/hookd/", "/var/lib/hookd-redis/", "/var/log/hookd/", "/srv/", "/opt/githost/"),
    *("/opt/hookd/versions/", f"{CHECKOUT}/"),
)
ADD: Final = (
    *("--domain", "shop.example.org", "--handover", "blue-green", "--data", "uploads", "--file", ".env"),
    *("--health", "/healthz"),
)


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A fresh server with a checkout of hookd."""
    with servers.start() as machine:
        machine.copy_checkout(CHECKOUT)
        yield machine


@pytest.fixture(scope="module")
def undisturbed(servers: Servers) -> dict[str, Any]:
    """The state of a server that was set up without a kill."""
    with servers.start(set_up_layer(servers)) as machine:
        machine.path("/etc/hookd/worker.env").unlink()
        return state(machine)


def state(machine: Machine) -> dict[str, Any]:
    """Return everything that setup and `app add` create."""
    units = machine.run("systemctl", "list-unit-files", "--plain", "--no-legend", "hookd*", "shop*").stdout
    manifest = json.loads(machine.read("/var/lib/hookd-setup/manifest.json"))
    return {
        "files": {path: entry for path, entry in machine.files().items() if not f"{path}/".startswith(STATE)},
        "accounts": accounts(machine),
        "units": [line.split()[:2] for line in units.splitlines()],
        "resources": sorted(sorted(one.items()) for one in manifest["resources"]),
        "pending": manifest["pending"],
    }


def compare(machine: Machine, expected: dict[str, Any]) -> None:
    """Check that a server has the expected state and no pending command."""
    actual = state(machine)
    for key in ("files", "accounts", "units", "resources"):
        assert actual[key] == expected[key], key
    assert actual["pending"] == expected["pending"] == []


def test_killed_installation_is_repeated(server: Machine) -> None:
    """Kill all processes of the installation while pip runs."""
    settings = [f"--setenv={name}={value}" for name, value in server.settings.items()]
    server.run("systemd-run", "--quiet", "--unit=install", *settings, f"{CHECKOUT}/run", "install")
    server.wait_until(lambda: list(server.path("/opt/hookd/versions").glob("*/venv/lib/python3*/site-packages/click*")))
    server.run("systemctl", "kill", "--signal=KILL", "install.service")
    server.wait_until(lambda: server.unit_state("install.service") == "failed")
    assert not server.path("/usr/local/bin/hookd").exists()
    server.shell("./run install", directory=CHECKOUT)
    assert [path.name for path in server.path("/opt/hookd/versions").iterdir()] == [current(server).name]
    assert (server.path("/opt/hookd/versions") / current(server).name / "complete").exists()


def current(machine: Machine) -> Path:
    """Return the version in use."""
    return machine.path("/opt/hookd/current").readlink()


@pytest.mark.threat(70)
@pytest.mark.promise(50)
def test_killed_setup_continues(server: Machine, undisturbed: dict[str, Any]) -> None:
    killed, _ = interrupted(server, "setup", "--domain", RECEIVER_DOMAIN, every=20)
    assert killed > 4
    for unit in ("hookd-redis", "hookd", "hookd-worker@1", "hookd-worker@2"):
        assert server.unit_state(f"{unit}.service") == "active"
    git_host(server)
    compare(server, undisturbed)


@pytest.mark.threat(70)
def test_killed_app_add_continues(server: Machine, servers: Servers) -> None:
    shop = Shop(server)
    shop.commit("v1")
    shop.allow_reading()
    command = ("app", "add", "shop", "--repo", shop.repository.url, "--no-deploy", *ADD)
    killed, _ = interrupted(server, *command, every=20)
    assert killed > 2
    settings = "".join(f"{name}={value}\n" for name, value in server.settings.items())
    server.write("/etc/hookd/worker.env", settings, 0o600)
    server.run("systemctl", "restart", "hookd-worker@1.service", "hookd-worker@2.service")
    shop.hookd("deploy", "shop")
    assert shop.page() == "v1"
    assert shop.push("v2")["status"] == "succeeded"
    with servers.start(shop_layer(servers)) as shop_server:
        compare(server, state(shop_server))


RESTART: Final = "systemctl restart hookd.service"


def answers(shop: Shop, *secrets: str) -> list[int]:
    """Return the statuses of pushes that are signed with these secrets."""
    return [push(shop.machine, RECEIVER_DOMAIN, "shop", one, sender="gitea").status for one in secrets]


def test_killed_rotation_continues(server: Machine) -> None:
    shop = Shop(server)
    old = shop.secret
    killed_at(server, RESTART, "secret", "rotate", "shop")
    new = shop.secret
    assert new != old and answers(shop, old, new) == [202, 401]
    assert new in shop.hookd("secret", "rotate", "shop")
    assert answers(shop, old, new) == [202, 202]
    killed_at(server, RESTART, "secret", "rotate", "shop", "--finish")
    assert answers(shop, old, new) == [202, 202]
    shop.hookd("secret", "rotate", "shop", "--finish")
    assert answers(shop, old, new) == [401, 202]
    assert state(server)["pending"] == []


@pytest.mark.threat(70)
def test_killed_removal_continues(server: Machine, undisturbed: dict[str, Any]) -> None:
    killed, last = interrupted(server, "app", "remove", "shop", "--yes", every=15)
    assert killed > 2
    assert "stays: /srv/shop" in last.stdout
    assert "there is no app 'shop'" in server.run("hookd", "app", "remove", "shop", "--yes", check=False).stderr
    assert server.unit_state("shop.socket") == "inactive"
    assert [path for path in server.path("/var/lib/hookd").rglob("*shop*") if "home" not in path.parts] == []
    left = state(server)
    assert [path for path in left["files"] if "shop" in path and not path.startswith("/var/lib/shop")] == []
    assert [unit for unit, _ in left["units"] if unit.startswith("shop")] == []
    assert left["pending"] == []
    assert left["accounts"] == undisturbed["accounts"]
