"""A server with two apps, one of each handover, and with secrets that no other user may see."""

from typing import Final

from hookd.config import load
from hookd.model.app import App
from tests.support.server.machine import Machine
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import Shop, shop_layer

CANARY: Final = "canary-of-an-apps-own-variable"


def neighbours_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """Return the disk of a server on which shop (blue-green) and blog (restart) are deployed."""

    def add(machine: Machine) -> None:
        variables = machine.write("/root/blog.env", f"BLOG_TOKEN={CANARY}\n", 0o600)
        Shop(machine, "blog").add("--handover", "restart", "--data", "logs", "--env-file", "/root/blog.env")
        variables.unlink()

    return servers.layer(f"neighbours {suite}", add, on=shop_layer(servers, suite=suite))


def apps(machine: Machine) -> tuple[App, ...]:
    """Return the apps of a server's own catalogue."""
    return load(machine.path("/etc/hookd/hookd.toml")).catalogue.apps


def wait_for_services(machine: Machine) -> None:
    """Wait until everything that starts with a server with neighbours is up."""
    units = ("hookd.service", "hookd-worker@1.service", "hookd-worker@2.service", "shop.service", "blog.service")
    machine.wait_until(lambda: {machine.unit_state(unit) for unit in units} == {"active"}, what="the services")
