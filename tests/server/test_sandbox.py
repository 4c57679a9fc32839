"""The sandboxes of the installed units on Debian 12 and 13, measured by systemd; and all of hookd at work in them."""

import os
import re
import time
from collections.abc import Iterator
from typing import Final

import pytest

from hookd.contract.catalogue import Limits
from tests.server.conftest import Figures
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import Shop, set_up_layer, shop_layer
from tests.support.server.visitors import visitors
from worker.commands import standing
from worker.faults import Unit
from worker.running import read_units

# systemd 252 and 257: what `systemd-analyze security` may say at most; the worker's sudo allows less there.
MOST: Final = {
    "hookd.service": (0.3, 0.3),
    "hookd-redis.service": (1.5, 1.5),
    "hookd-worker@1.service": (5.8, 2.2),
    "hookd-worker@2.service": (5.8, 2.2),
    "hookd-reconcile.service": (1.4, 1.4),
    "shop-blue.service": (2.5, 2.5),
    "shop-green.service": (2.5, 2.5),
}
OWN: Final = (*MOST, "hookd-doctor.service", "shop.service")
SUITES: Final = ("bookworm", "trixie")


def shop_of(servers: Servers, suite: str) -> Layer:
    """The disk of a server of either Debian whose app is deployed."""
    if suite == "bookworm":
        return shop_layer(servers)
    return servers.layer(
        f"shop {suite}", lambda machine: Shop(machine).add("--data", "uploads"), on=set_up_layer(servers, suite)
    )


@pytest.fixture(scope="module", params=SUITES)
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server of either Debian whose app has been deployed."""
    with servers.start(shop_of(servers, request.param)) as machine:
        found = Shop(machine)
        machine.wait_until(lambda: found.page() == "v1", what="the shop")
        yield found


def systemd(shop: Shop) -> int:
    """The number of the server's systemd."""
    return int(shop.machine.run("systemctl", "--version").stdout.split()[1])


def exposure(shop: Shop, unit: str) -> float:
    """What systemd says of a unit with its drop-ins: 0 is closed, 10 open."""
    printed = shop.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(rf"Overall exposure level for {re.escape(unit)}: ([0-9.]+)", printed)
    assert found, printed
    return float(found[1])


def test_every_unit_is_as_closed_as_it_is_to_be(shop: Shop, figures: Figures) -> None:
    found = {unit: exposure(shop, unit) for unit in OWN}
    newer = systemd(shop) >= 257
    assert {unit: found[unit] for unit in MOST if found[unit] > MOST[unit][newer]} == {}
    figures.note(f"exposure, systemd {systemd(shop)}: {', '.join(f'{unit} {value}' for unit, value in found.items())}")


def test_a_push_a_broken_one_and_the_way_back_work_in_them(shop: Shop) -> None:
    """The worker starts and stops the app through sudo, from within its sandbox."""
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        assert shop.push("v2")["status"] == "succeeded"
        assert shop.push("v3")["status"] == "succeeded"
        assert shop.push("broken", {"wsgi.py": "raise RuntimeError('broken')\n"})["status"] in ("rolled_back", "failed")
        assert shop.page() == "v3"
        shop.hookd("rollback", "shop")
    assert shop.page() == "v2"
    assert not crowd.failures, crowd.failures[:5]


def test_a_push_that_nobody_told_of_is_found_in_them(shop: Shop) -> None:
    """What looks for it has no privilege at all: it asks the git host with the app's key, and the worker in Redis."""
    shop.commit("missed")
    shop.look()
    shop.machine.wait_until(lambda: shop.page() == "missed" and len(up(shop)) == 1, 60, "the missed push")


def up(shop: Shop) -> dict[str, Unit]:
    """The colours that run, as the worker sees them."""
    asked = standing(("shop-blue.service", "shop-green.service", "no-such.service"), Limits())
    found = read_units(shop.machine.run(*asked.argv).stdout.splitlines())
    assert found["no-such.service"] == Unit()
    return {name: unit for name, unit in found.items() if unit.is_up}


def test_what_a_service_runs_is_seen_from_the_outside(shop: Shop) -> None:
    """Both ways: what gunicorn says of itself, and when it started compared with when its link was last pointed."""
    [(serving, unit)] = up(shop).items()
    root = shop.machine.path("/srv/shop")
    colour = serving.removeprefix("shop-").removesuffix(".service")
    assert unit.directory == f"/srv/shop/{os.readlink(root / colour)}"
    assert unit.started is not None
    assert (root / colour).lstat().st_mtime <= unit.started <= time.time()


def test_all_units_are_active_and_none_has_failed(shop: Shop) -> None:
    for unit in (
        "hookd-redis.service",
        "hookd.socket",
        "hookd.service",
        "hookd-reconcile.timer",
        "hookd-doctor.timer",
        "shop.socket",
        "shop.service",
    ):
        assert shop.machine.unit_state(unit) == "active", unit
    assert [shop.machine.unit_state(f"hookd-worker@{number}.service") for number in (1, 2)] == ["active", "active"]
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_no_unit_and_no_file_of_hookd_s_displeases_the_system(shop: Shop) -> None:
    """What systemd finds odd in a unit it says in the journal, and passes over the line."""
    told = shop.machine.run("journalctl", "--no-pager", "--output=cat", "_PID=1").stdout.splitlines()
    odd = ("Unknown", "ignoring", "Failed to parse", "deprecated", "not supported", "lacks")
    units = tuple(f"/{name}" for name in ("hookd", "shop"))
    assert [line for line in told if any(word in line for word in odd) and any(unit in line for unit in units)] == []
    shop.machine.run("systemd-analyze", "verify", *OWN, "hookd.socket", "shop.socket")
    shop.machine.run("visudo", "--check")
    shop.machine.run("nginx", "-t")
