"""Nothing is lost on a real server: missed pushes, a Redis that was away or empty, and services against their order."""

import json
from collections.abc import Iterator

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.visitors import visitors
from tests.support.server.web import push

REDIS_DATA = "/var/lib/hookd-redis"


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server whose app has been deployed once, by each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        yield Shop(machine)


def colours(shop: Shop) -> tuple[str, str]:
    """The unit that serves and the one that is idle; an app of one service has one only."""
    units = shop.machine.path("/etc/systemd/system")
    names = [name for name in ("shop-blue", "shop-green") if (units / f"{name}.service").exists()]
    up = [name for name in names or ["shop"] if shop.machine.unit_state(f"{name}.service") == "active"]
    return up[0], next((name for name in names if name not in up), "")


def life_of(shop: Shop, unit: str) -> str:
    """What is another with each start of a unit."""
    return shop.machine.run("systemctl", "show", "--property=InvocationID", "--value", f"{unit}.service").stdout.strip()


def last(shop: Shop) -> dict[str, str]:
    """The app's last deployment."""
    found: dict[str, str] = json.loads(shop.hookd("status", "shop", "--json"))["deployments"][0]
    return found


def wait_for(shop: Shop, page: str) -> None:
    shop.machine.wait_until(lambda: shop.page() == page, 60, page)


@pytest.mark.threat(5)
@pytest.mark.promise(12)
def test_the_timer_finds_a_push_that_nobody_told_of(shop: Shop) -> None:
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=20")
    commit = shop.commit("missed")
    with visitors(shop.machine, shop.domain, per_second=20) as crowd:
        shop.machine.wait_until(lambda: shop.page() == "missed", 90, "the missed push")
    assert not crowd.failures, crowd.failures[:5]
    shop.machine.wait_until(lambda: last(shop)["status"] == "succeeded", 30, "its ending")
    assert (last(shop)["trigger"], last(shop)["commit"]) == ("reconcile", commit)
    shop.hookd("app", "edit", "shop", "--set", "reconcile.every=180")


@pytest.mark.threat(37)
def test_what_is_right_is_never_started_again(shop: Shop) -> None:
    shop.push("right")
    unit, _ = colours(shop)
    before, deployment = life_of(shop, unit), last(shop)["id"]
    for _ in range(3):
        shop.look()
    assert (life_of(shop, unit), last(shop)["id"]) == (before, deployment)
    assert shop.redis("ACL", "LOG") == "[]", "something was tried that Redis denies"
    status = shop.machine.run("systemctl", "show", "--property=StatusText", "--value", f"{unit}.service").stdout
    assert status.strip() == f"release /srv/shop/releases/{last(shop)['release']}"


@pytest.mark.threat(14)
def test_a_push_while_redis_was_down_is_deployed_when_it_is_back(shop: Shop) -> None:
    shop.push("before")
    shop.machine.run("systemctl", "stop", "hookd-redis.service")
    refused = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", after=shop.commit("meanwhile"))
    assert refused.status == 503
    shop.machine.run("systemctl", "start", "hookd-redis.service")
    # Not told to: another life of Redis is reason enough.
    wait_for(shop, "meanwhile")


@pytest.mark.threat(14)
@pytest.mark.promise(15)
def test_a_redis_that_lost_everything_is_filled_from_disk_and_the_head_is_deployed(shop: Shop) -> None:
    shop.push("one")
    shop.push("two")
    shop.hookd("rollback", "shop")
    before = json.loads(shop.hookd("status", "shop", "--json"))
    shop.machine.run("systemctl", "stop", "hookd-redis.service")
    shop.machine.shell(f"rm -rf {REDIS_DATA}/*")
    shop.machine.run("systemctl", "start", "hookd-redis.service")
    shop.look()
    after = json.loads(shop.hookd("status", "shop", "--json"))
    known = ("deployed_commit", "release", "pinned_commit", "head", "quarantined")
    assert {key: after[key] for key in known} == {key: before[key] for key in known}
    assert (after["lag"]["verdict"], after["lag"]["commits"]) == ("pinned", 1)
    assert "behind head by 1 commit for 0 min, because a person pinned" in shop.hookd("status", "shop")
    shop.commit("three")
    shop.look()
    wait_for(shop, "three")


@pytest.mark.threat(37)
def test_what_a_person_stopped_stays_stopped_and_says_so(shop: Shop) -> None:
    shop.push("serves")
    shop.hookd("stop", "shop")
    shop.commit("not now")
    for _ in range(2):
        shop.look()
    assert shop.page() == "502"
    assert "behind head for 0 min, because shop is stopped" in shop.hookd("status", "shop")
    shop.hookd("start", "shop")
    shop.look()
    wait_for(shop, "not now")


@pytest.mark.threat(36)
def test_what_somebody_did_by_hand_is_mended(shop: Shop) -> None:
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
    shop.look()
    wait_for(shop, "new")
    shop.machine.wait_until(lambda: last(shop)["status"] != "running", 60, "its ending")
    assert (last(shop)["status"], last(shop)["trigger"]) == ("succeeded", "reconcile"), last(shop)
    assert str(last(shop)["cause"]).startswith("repaired: "), last(shop)
    assert colours(shop)[0] == unit
    before = life_of(shop, unit)
    shop.look()
    assert life_of(shop, unit) == before


def test_a_serving_process_that_is_killed_comes_back_without_a_deployment(shop: Shop) -> None:
    shop.push("serves")
    deployment = last(shop)["id"]
    unit, _ = colours(shop)
    for _ in range(3):
        shop.machine.run("systemctl", "kill", "--signal=KILL", f"{unit}.service")
        shop.look()
    wait_for(shop, "serves")
    shop.look()
    assert last(shop)["id"] == deployment


@pytest.mark.threat(39)
def test_the_doctor_says_when_nobody_looks(shop: Shop) -> None:
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
def test_after_a_reboot_it_looks_again_and_nothing_has_failed(shop: Shop) -> None:
    shop.push("before the reboot")
    shop.commit("during the reboot")
    shop.machine.reboot()
    wait_for(shop, "during the reboot")
    assert shop.machine.unit_state("hookd-reconcile.timer") == "active"
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
