"""An app on a real server: nobody's request fails while it is deployed, and a bad release never serves."""

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.server.conftest import Figures
from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, good, shop_layer
from tests.support.server.visitors import Visitors, visitors

DEPLOYS: Final = 10
PUSHES: Final = 20
# What systemd allows in ten seconds unless a unit says otherwise, for an hour: no test here depends on its own speed.
FIVE_STARTS: Final = "[Manager]\nDefaultStartLimitIntervalSec=1h\nDefaultStartLimitBurst=5\n"


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with little patience whose app has been deployed once, by each handover; a page that hangs ends soon."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        machine.write("/etc/systemd/system.conf.d/start-limit.conf", FIVE_STARTS)
        machine.run("systemctl", "daemon-reexec")
        found = Shop(machine)
        found.hookd("app", "edit", "shop", "--set", "health.deadline=8")
        yield found


def handover(shop: Shop) -> str:
    """How this app changes from one release to the next."""
    return "blue-green" if shop.machine.path("/srv/shop/blue").is_symlink() else "restart"


@pytest.mark.threat(78)
@pytest.mark.promise(2, 36)
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


@pytest.mark.threat(28)
@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_release_never_serves_and_the_next_good_commit_does(shop: Shop, fault: str) -> None:
    before = shop.page()
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        record = shop.push("bad", {"wsgi.py": BROKEN[fault]})
    assert record["status"] in ("rolled_back", "failed"), record
    if fault == "exits after ready":
        assert_seen_for_a_moment_at_most(crowd, record, before)
    else:
        assert not crowd.failures, crowd.failures[:5]
        assert crowd.seen == {before}
    assert shop.page() == before
    again = shop.ending(shop.tell(record["commit"]))
    assert again["status"] == "unchanged"
    assert "quarantine" in again["cause"]
    assert shop.push(f"after {fault}")["status"] == "succeeded"
    assert shop.page() == f"after {fault}"


def assert_seen_for_a_moment_at_most(crowd: Visitors, record: dict[str, Any], before: str) -> None:
    """One that is well at first and dies later is seen until it is found out, and never again.

    What its two workers with four threads each had in their hands when it killed itself may be lost.
    """
    started = ("start", "restart", "health", "roll_back")
    seconds = sum(step["seconds"] for step in record["steps"] if step["name"] in started)
    assert crowd.answers.count("broken") <= 50 * (seconds + 1), (len(crowd.answers), record)
    assert crowd.seen <= {before, "broken"} and set(crowd.answers[-10:]) == {before}
    assert len(crowd.failures) <= 8 and all(" 502 " in failure for failure in crowd.failures), crowd.failures


@pytest.mark.threat(29)
def test_more_restarts_in_a_row_than_systemd_allows_leave_the_app_up(shop: Shop) -> None:
    shown = shop.machine.run("systemctl", "show", "--property=StartLimitIntervalUSec", "--value", "ssh.service").stdout
    assert shown == "1h\n"
    page, unit = shop.page(), serving(shop)
    for _ in range(7):
        restart_as_worker(shop, unit)
    assert shop.page() == page


def restart_as_worker(shop: Shop, unit: str) -> None:
    """Restart a unit, and wait for both of gunicorn's workers: a TERM that comes while it forks one is lost."""
    before = workers_that_passed(shop, unit)
    shop.machine.run("sudo", "-n", "/usr/bin/systemctl", "restart", unit, user="manager")
    shop.machine.wait_until(lambda: workers_that_passed(shop, unit) == before + 2, 20, "both workers")


def workers_that_passed(shop: Shop, unit: str) -> int:
    """How many of gunicorn's first workers have ever taken requests."""
    return shop.machine.journal(unit, "--output=cat").count("this worker takes requests")


@pytest.mark.threat(6, 29)
def test_twenty_pushes_in_ten_seconds_leave_the_app_up_at_the_last(shop: Shop) -> None:
    commits = [shop.repository.commit(good(f"burst {number}")) for number in range(PUSHES)]
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        start, told = time.monotonic(), []
        for commit in commits:
            shop.repository.git("push", "-q", "origin", f"{commit}:refs/heads/main")
            told.append(shop.tell(commit))
        assert time.monotonic() - start < 10, "this machine is too slow for what is to be shown"
        shop.ending(told[-1])
        shop.machine.wait_until(lambda: shop.page() == f"burst {PUSHES - 1}", 60, "the last push to serve")
    assert not crowd.failures, crowd.failures[:5]


@pytest.mark.threat(31)
def test_after_a_reboot_everything_comes_back_by_itself(shop: Shop) -> None:
    page = shop.page()
    shop.machine.reboot()
    assert shop.page() == page
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert shop.push("after the reboot")["status"] == "succeeded"
    assert shop.page() == "after the reboot"


@pytest.mark.threat(31)
def test_after_a_power_cut_what_served_serves(shop: Shop) -> None:
    page = shop.page()
    shop.machine.power_cut()
    shop.machine.wait_until(lambda: shop.page() == page, 30, "the page")
    assert shop.push("after the cut")["status"] == "succeeded"


@pytest.mark.promise(51)
def test_stopped_means_stopped_and_started_means_what_served(shop: Shop) -> None:
    page = shop.page()
    shop.hookd("stop", "shop")
    assert shop.page() == "502"
    assert shop.page() == "502", "a request started the app again"
    shop.hookd("start", "shop")
    assert shop.page() == page


def test_a_deployment_after_a_stop_is_a_start(shop: Shop) -> None:
    page = shop.page()
    shop.hookd("stop", "shop")
    shop.hookd("deploy", "shop")
    assert shop.page() == page
    assert "shop services: shop" not in shop.machine.run("hookd", "doctor", "shop", check=False).stdout
    shop.hookd("start", "shop")
    assert shop.machine.unit_state("shop.service") == "active"
    assert shop.page() == page


@pytest.mark.threat(78)
def test_a_restart_by_hand_loses_no_request(shop: Shop) -> None:
    page = shop.page()
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        shop.hookd("restart", "shop")
    assert not crowd.failures, crowd.failures[:5]
    assert crowd.seen == {page}


def test_an_app_that_dies_comes_back(shop: Shop) -> None:
    page, unit = shop.page(), serving(shop)
    killed = main_process(shop, unit)
    shop.machine.run("kill", "-9", killed)
    shop.machine.wait_until(lambda: main_process(shop, unit) not in ("0", killed), 20, "its successor")
    # The request that was in the dying process's hands may be lost; those after it wait in the socket.
    shop.machine.wait_until(lambda: shop.page() == page, 20, "the page")


def serving(shop: Shop) -> str:
    """The unit that serves: the one that starts a colour has no process."""
    names = ("shop-blue.service", "shop-green.service", "shop.service")
    return next(name for name in names if main_process(shop, name) != "0")


def main_process(shop: Shop, unit: str) -> str:
    """The process of a unit; 0 for none."""
    return shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip() or "0"


@pytest.mark.promise(46)
def test_back_by_hand_and_forward_with_the_next_push(shop: Shop) -> None:
    shop.push("old")
    shop.push("new")
    shop.hookd("rollback", "shop")
    assert shop.page() == "old"
    assert "nothing" not in shop.hookd("update", "shop")
    assert shop.page() == "old"
    shop.push("newer")
    assert shop.page() == "newer"
