"""Reconciliation on a real server: missed pushes, a stopped or empty Redis, and drift of services."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.visitors import visitors
from tests.support.server.web import push

REDIS_DATA = "/var/lib/hookd-redis"
# For tests of pushes, Redis and timers. Only a drift concerns the services of a handover.
with_one_handover = pytest.mark.parametrize("shop", ["blue-green"], indirect=True)


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server whose app was deployed once, for each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        shop = Shop(machine)
        shop.reconcile_often()
        yield shop


def colours(shop: Shop) -> tuple[str, str]:
    """Return the serving and the idle unit, which is empty for an app with one service."""
    units = shop.machine.path("/etc/systemd/system")
    names = [name for name in ("shop-blue", "shop-green") if (units / f"{name}.service").exists()]
    up = [name for name in names or ["shop"] if shop.machine.unit_state(f"{name}.service") == "active"]
    return up[0], next((name for name in names if name not in up), "")


def invocation(shop: Shop, unit: str) -> str:
    """Return the id of a unit's last start."""
    return shop.machine.run("systemctl", "show", "--property=InvocationID", "--value", f"{unit}.service").stdout.strip()


def last(shop: Shop) -> dict[str, str]:
    """Return the app's last deployment."""
    deployment: dict[str, str] = shop.status()["deployments"][0]
    return deployment


def wait_for(shop: Shop, page: str) -> None:
    shop.machine.wait_until(lambda: shop.page() == page, 60, page)


@pytest.mark.threat(5)
@pytest.mark.promise(12)
@with_one_handover
def test_timer_finds_a_missed_push(shop: Shop) -> None:
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=20")
    commit = shop.commit("missed")
    with visitors(shop.machine, shop.domain, per_second=20) as crowd:
        shop.machine.wait_until(lambda: shop.page() == "missed", 90, "the missed push")
    assert not crowd.failures, crowd.failures[:5]
    shop.machine.wait_until(lambda: last(shop)["status"] == "succeeded", 30, "the ending")
    assert (last(shop)["trigger"], last(shop)["commit"]) == ("reconcile", commit)
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=180")


@pytest.mark.threat(37)
def test_healthy_service_is_not_restarted(shop: Shop) -> None:
    shop.push("right")
    unit, _ = colours(shop)
    before, deployment = invocation(shop, unit), last(shop)["id"]
    for _ in range(3):
        shop.reconcile()
    assert (invocation(shop, unit), last(shop)["id"]) == (before, deployment)
    assert shop.redis("ACL", "LOG") == "[]", "Redis denied a command"
    status = shop.machine.run("systemctl", "show", "--property=StatusText", "--value", f"{unit}.service").stdout
    assert status.strip() == f"release /srv/shop/releases/{last(shop)['release']}"


@pytest.mark.threat(14)
@with_one_handover
def test_push_without_redis_is_deployed_later(shop: Shop) -> None:
    shop.push("before")
    shop.machine.run("systemctl", "stop", "hookd-redis.service")
    refused = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", after=shop.commit("meanwhile"))
    assert refused.status == 503
    shop.machine.run("systemctl", "start", "hookd-redis.service")
    # No command: the restart of Redis starts a reconciliation.
    wait_for(shop, "meanwhile")


@pytest.mark.threat(14)
@pytest.mark.promise(15)
@with_one_handover
def test_empty_redis_is_filled_from_disk(shop: Shop) -> None:
    shop.push("one")
    shop.push("two")
    shop.hookd("rollback", "shop")
    before = json.loads(shop.hookd("status", "shop", "--json"))
    shop.machine.run("systemctl", "stop", "hookd-redis.service")
    shop.machine.shell(f"rm -rf {REDIS_DATA}/*")
    shop.machine.run("systemctl", "start", "hookd-redis.service")
    shop.reconcile()
    after = json.loads(shop.hookd("status", "shop", "--json"))
    known = ("deployed_commit", "release", "pinned_commit", "head", "quarantined")
    assert {key: after[key] for key in known} == {key: before[key] for key in known}
    assert (after["lag"]["verdict"], after["lag"]["commits"]) == ("pinned", 1)
    assert re.search(r"behind head by 1 commit for \d+ s, because \w+ is pinned", shop.hookd("status", "shop"))
    shop.commit("three")
    shop.reconcile()
    wait_for(shop, "three")


@pytest.mark.threat(37)
@with_one_handover
def test_stopped_app_stays_stopped(shop: Shop) -> None:
    shop.push("serves")
    shop.hookd("stop", "shop")
    shop.commit("not now")
    for _ in range(2):
        shop.reconcile()
    assert shop.page() == "503"
    assert re.search(r"behind head for \d+ s, because shop is stopped", shop.hookd("status", "shop"))
    shop.hookd("start", "shop")
    shop.reconcile()
    wait_for(shop, "not now")


@pytest.mark.threat(36)
def test_manual_changes_are_repaired(shop: Shop) -> None:
    shop.push("old")
    old = last(shop)["release"]
    shop.push("new")
    unit, idle = colours(shop)
    shop.machine.shell(f"ln -sfn releases/{old} /srv/shop/current && chown -h manager:www-data /srv/shop/current")
    if idle:
        shop.machine.shell(f"ln -sfn releases/{old} /srv/shop/{idle.removeprefix('shop-')}")
        shop.machine.run("systemctl", "start", f"{idle}.service")
        shop.machine.run("systemctl", "stop", f"{unit}.service")
    else:
        shop.machine.run("systemctl", "restart", f"{unit}.service")
    wait_for(shop, "old")
    shop.reconcile()
    wait_for(shop, "new")
    shop.machine.wait_until(lambda: last(shop)["status"] != "running", 60, "the ending")
    assert (last(shop)["status"], last(shop)["trigger"]) == ("succeeded", "reconcile"), last(shop)
    assert str(last(shop)["cause"]).startswith("repaired: "), last(shop)
    assert colours(shop)[0] == unit
    before = invocation(shop, unit)
    shop.reconcile()
    assert invocation(shop, unit) == before


def test_killed_process_needs_no_deployment(shop: Shop) -> None:
    shop.push("serves")
    deployment = last(shop)["id"]
    unit, _ = colours(shop)
    for _ in range(3):
        shop.machine.run("systemctl", "kill", "--signal=KILL", f"{unit}.service")
        shop.reconcile()
    wait_for(shop, "serves")
    shop.reconcile()
    assert last(shop)["id"] == deployment


@pytest.mark.threat(39)
@with_one_handover
def test_doctor_reports_a_stopped_timer(shop: Shop) -> None:
    doctor = shop.machine.run("hookd", "doctor", "--quiet", check=False)
    assert "hookd-reconcile" not in doctor.stdout
    shop.machine.run("systemctl", "stop", "hookd-reconcile.timer")
    assert "hookd-reconcile.timer is not running" in shop.machine.run("hookd", "doctor", "--quiet", check=False).stdout
    shop.machine.run("systemctl", "start", "hookd-reconcile.timer")
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=0")
    doctor = shop.machine.run("hookd", "doctor", "shop", "--quiet", check=False)
    assert "shop is never reconciled" in doctor.stdout
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=180")


@pytest.mark.threat(39)
@with_one_handover
def test_reboot_resumes_reconciliation(shop: Shop) -> None:
    shop.push("before the reboot")
    shop.commit("during the reboot")
    shop.machine.reboot()
    wait_for(shop, "during the reboot")
    assert shop.machine.unit_state("hookd-reconcile.timer") == "active"
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
