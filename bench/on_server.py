"""A server for measurements, as the tests boot it: Debian with systemd, nginx and a deployed app."""

from collections.abc import Iterator
from contextlib import contextmanager

from hookd.config import load
from hookd.model.app import App
from tests.support.server.machine import machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import fresh
from tests.support.server.shop import Shop, install, set_up


@contextmanager
def deployed_shop(*settings: str, on_disk: bool = False) -> Iterator[Shop]:
    """Run a server with a deployed app, whose `settings` are KEY=VALUE. Ends this program where none can boot.

    Its files are in memory if there is room, unless `on_disk` is true.
    """
    if obstacle := can_boot():
        raise SystemExit(obstacle)
    lower = fresh("bookworm").lower
    with workplace() as directory, machine(directory / "server", lower, is_kept=on_disk) as server:
        install(server)
        set_up(server)
        shop = Shop(server)
        shop.add("--handover", "blue-green")
        if settings:
            shop.hookd("app", "edit", shop.name, *(word for setting in settings for word in ("--set", setting)))
        yield shop


def catalogued(shop: Shop) -> App:
    """Return the app as the server's catalogue describes it."""
    [app] = load(shop.machine.path("/etc/hookd/hookd.toml")).catalogue.apps
    return app


def succeeded(shop: Shop, deployment: str, seconds: float = 90) -> None:
    """Wait for a deployment, and end this program unless it succeeds."""
    record = shop.ending(deployment, seconds)
    if record["status"] != "succeeded":
        raise SystemExit(f"{deployment} ended {record['status']}: {record['cause']}")
