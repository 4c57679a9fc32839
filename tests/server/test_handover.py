"""An app on a real server: nobody's request fails while it is deployed, and a bad release never serves."""

from collections.abc import Iterator

import pytest

from tests.server.conftest import Figures
from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, shop_layer
from tests.support.server.visitors import visitors

DEPLOYS = 10


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server whose app has been deployed once, by each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        yield Shop(machine)


def handover(shop: Shop) -> str:
    """How this app changes from one release to the next."""
    return "blue-green" if shop.machine.path("/srv/shop/blue").is_symlink() else "restart"


def test_no_request_fails_during_ten_deploys(shop: Shop, figures: Figures) -> None:
    with visitors(shop.machine, shop.domain, per_second=100) as crowd:
        endings = [shop.push(f"v{number}")["status"] for number in range(10, 10 + DEPLOYS)]
    assert endings == ["succeeded"] * DEPLOYS
    assert not crowd.failures, crowd.failures[:5]
    assert {f"v{number}" for number in range(10, 10 + DEPLOYS)} <= crowd.seen
    figures.note(
        f"{handover(shop)}: {crowd.number} requests at 100/s during {DEPLOYS} deploys, "
        f"none failed, slowest {crowd.slowest:.2f} s"
    )


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_release_never_serves_and_the_next_good_commit_does(shop: Shop, fault: str) -> None:
    """A quick deadline: the page that hangs is given up after it."""
    shop.hookd("app", "edit", "shop", "--set", "health.deadline=8")
    shop.push("good")
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        record = shop.push("bad", {"wsgi.py": BROKEN[fault]})
    assert record["status"] in ("rolled_back", "failed"), record
    assert not crowd.failures, crowd.failures[:5]
    # One that is well at first and dies later is seen for that moment, beside the old one.
    assert crowd.seen == {"good"} or (fault == "exits after ready" and crowd.seen <= {"good", "broken"})
    assert shop.page() == "good"
    again = shop.ending(shop.tell(record["commit"]))
    assert again["status"] == "unchanged"
    assert "quarantine" in again["cause"]
    assert shop.push("better")["status"] == "succeeded"
    assert shop.page() == "better"


def test_twenty_pushes_in_ten_seconds_leave_the_app_up_at_the_last(shop: Shop) -> None:
    """systemd's own start limit would leave the app stopped after the sixth restart in ten seconds."""
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        told = [shop.tell(shop.commit(f"burst {number}")) for number in range(20)]
        shop.ending(told[-1])
        shop.machine.wait_until(lambda: shop.page() == "burst 19", 60, "the last push to serve")
    assert not crowd.failures, crowd.failures[:5]


def test_after_a_reboot_everything_comes_back_by_itself(shop: Shop) -> None:
    shop.push("before the reboot")
    shop.machine.reboot()
    assert shop.page() == "before the reboot"
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert shop.push("after the reboot")["status"] == "succeeded"
    assert shop.page() == "after the reboot"


def test_after_a_power_cut_what_served_serves(shop: Shop) -> None:
    shop.push("before the cut")
    shop.machine.power_cut()
    shop.machine.wait_until(lambda: shop.page() == "before the cut", 30, "the page")
    assert shop.push("after the cut")["status"] == "succeeded"


def test_stopped_means_stopped_and_started_means_what_served(shop: Shop) -> None:
    shop.push("serves")
    shop.hookd("stop", "shop")
    assert shop.page() == "502"
    assert shop.page() == "502", "a request started the app again"
    shop.hookd("start", "shop")
    assert shop.page() == "serves"


def test_a_restart_by_hand_loses_no_request(shop: Shop) -> None:
    shop.push("serves")
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        shop.hookd("restart", "shop")
    assert not crowd.failures, crowd.failures[:5]
    assert crowd.seen == {"serves"}


def test_an_app_that_dies_comes_back(shop: Shop) -> None:
    shop.push("serves")
    unit = next(name for name in ("shop-blue", "shop-green", "shop") if is_gunicorn(shop, name))
    pid = shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
    shop.machine.run("kill", "-9", pid)
    # The request that was in the dying process's hands may be lost; those after it wait in the socket.
    shop.machine.wait_until(lambda: shop.page() == "serves", 20, "the page")


def is_gunicorn(shop: Shop, unit: str) -> bool:
    """Tell whether a unit is the one that serves: the one that starts it has no process."""
    shown = shop.machine.run("systemctl", "show", "--property=MainPID", "--value", f"{unit}.service").stdout
    return shown.strip() not in ("", "0")


def test_back_by_hand_and_forward_with_the_next_push(shop: Shop) -> None:
    shop.push("old")
    shop.push("new")
    shop.hookd("rollback", "shop")
    assert shop.page() == "old"
    assert "nothing" not in shop.hookd("update", "shop")
    assert shop.page() == "old"
    shop.push("newer")
    assert shop.page() == "newer"
