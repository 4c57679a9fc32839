"""Deployments on a real server: no request fails, and a bad release never serves."""

import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.server.conftest import Figures
from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, good, shop_layer
from tests.support.server.visitors import Visitors, visitors

DEPLOYS: Final = 5
PUSHES: Final = 20
# systemd's default limit of starts, for an hour instead of ten seconds, so that no test depends on its speed.
FIVE_STARTS: Final = "[Manager]\nDefaultStartLimitIntervalSec=1h\nDefaultStartLimitBurst=5\n"

# For tests of the queue and the pin.
with_one_handover = pytest.mark.parametrize("shop", ["blue-green"], indirect=True)


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with a short deadline whose app was deployed once, for each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        machine.write("/etc/systemd/system.conf.d/start-limit.conf", FIVE_STARTS)
        machine.run("systemctl", "daemon-reexec")
        shop = Shop(machine)
        shop.hookd("app", "edit", "shop", "--set", "health.deadline=8")
        yield shop


def handover(shop: Shop) -> str:
    """Return the app's handover."""
    return "blue-green" if shop.machine.path("/srv/shop/blue").is_symlink() else "restart"


@pytest.mark.threat(78)
@pytest.mark.promise(2, 36)
def test_no_request_fails_during_deploys(shop: Shop, figures: Figures) -> None:
    with visitors(shop.machine, shop.domain, per_second=100) as crowd:
        endings = [shop.push(f"v{number}")["status"] for number in range(10, 10 + DEPLOYS)]
    assert endings == ["succeeded"] * DEPLOYS
    assert not crowd.failures, crowd.failures[:5]
    assert {f"v{number}" for number in range(10, 10 + DEPLOYS)} <= crowd.pages
    figures.note(
        f"{handover(shop)}: {crowd.number} requests at 100/s during {DEPLOYS} deploys, "
        f"none failed, slowest {crowd.slowest:.2f} s"
    )


@pytest.mark.threat(28)
@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", BROKEN)
def test_broken_release_never_serves(shop: Shop, fault: str) -> None:
    before, workers = shop.page(), ready_workers(shop, "shop*")
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        record = shop.push("bad", {"wsgi.py": BROKEN[fault]})
    assert record["status"] in ("rolled_back", "failed"), record
    if fault == "exits after ready":
        assert_served_briefly(crowd, record, before, ready_workers(shop, "shop*") - workers)
    else:
        assert not crowd.failures, crowd.failures[:5]
        assert crowd.pages == {before}
    assert shop.page() == before
    if fault != "exits after ready":  # A neighbour may have killed it. test_disturbed.py has its quarantine.
        again = shop.ending(shop.deliver(record["commit"]))
        assert again["status"] == "unchanged"
        assert "quarantine" in again["cause"]
    assert shop.push(f"after {fault}")["status"] == "succeeded"
    assert shop.page() == f"after {fault}"


def assert_served_briefly(crowd: Visitors, record: dict[str, Any], before: str, workers: int) -> None:
    """Check that a release that dies after a good start serves only until its health check fails.

    The requests in the four threads of each of its workers may be lost. systemd starts it again until the roll-back.
    """
    started = ("start", "restart", "health", "roll_back")
    seconds = sum(step["seconds"] for step in record["steps"] if step["name"] in started)
    assert crowd.answers.count("broken") <= 50 * (seconds + 1), (len(crowd.answers), record)
    assert crowd.pages <= {before, "broken"} and set(crowd.answers[-10:]) == {before}
    lost = [failure for failure in crowd.failures if " 502 " in failure or "the page ends" in failure]
    assert lost == crowd.failures and len(lost) <= 4 * workers, crowd.failures


@pytest.mark.threat(29)
def test_many_restarts_meet_no_limit(shop: Shop) -> None:
    shown = shop.machine.run("systemctl", "show", "--property=StartLimitIntervalUSec", "--value", "ssh.service").stdout
    assert shown == "1h\n"
    page, unit = shop.page(), serving(shop)
    for _ in range(7):
        restart_as_worker(shop, unit)
    assert shop.page() == page


def restart_as_worker(shop: Shop, unit: str) -> None:
    """Restart a unit and wait for both of gunicorn's workers, because a TERM during a fork is lost."""
    before = ready_workers(shop, unit)
    shop.machine.run("sudo", "-n", "/usr/bin/systemctl", "restart", unit, user="manager")
    shop.machine.wait_until(lambda: ready_workers(shop, unit) == before + 2, 20, "both workers")


def ready_workers(shop: Shop, unit: str) -> int:
    """Count gunicorn's workers of a unit, or of all that match, that ever took requests."""
    return shop.machine.journal(unit, "--output=cat").count("this worker takes requests")


@pytest.mark.threat(6, 29)
@with_one_handover
def test_twenty_quick_pushes_deploy_the_last(shop: Shop) -> None:
    commits = [shop.repository.commit(good(f"burst {number}")) for number in range(PUSHES)]
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        start, deployments = time.monotonic(), []
        for commit in commits:
            shop.repository.git("push", "-q", "origin", f"{commit}:refs/heads/main")
            deployments.append(shop.deliver(commit))
        assert time.monotonic() - start < 10, "this machine is too slow for this test"
        shop.ending(deployments[-1])
        shop.machine.wait_until(lambda: shop.page() == f"burst {PUSHES - 1}", 60, "the last push")
    assert not crowd.failures, crowd.failures[:5]


@pytest.mark.threat(31)
def test_reboot_restores_everything(shop: Shop) -> None:
    page = shop.page()
    shop.machine.reboot()
    assert shop.page() == page
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert shop.push("after the reboot")["status"] == "succeeded"
    assert shop.page() == "after the reboot"


@pytest.mark.promise(51)
def test_stop_holds_until_the_start(shop: Shop) -> None:
    page = shop.page()
    shop.hookd("stop", "shop")
    assert shop.page() == "503"
    assert shop.page() == "503", "a request started the app again"
    shop.hookd("start", "shop")
    assert shop.page() == page


def test_deployment_ends_a_stop(shop: Shop) -> None:
    page = shop.page()
    shop.hookd("stop", "shop")
    shop.hookd("deploy", "shop")
    assert shop.page() == page
    assert "shop services: shop" not in shop.machine.run("hookd", "doctor", "shop", check=False).stdout
    shop.hookd("start", "shop")
    assert shop.machine.unit_state("shop.service") == "active"
    assert shop.page() == page


@pytest.mark.threat(78)
def test_manual_restart_loses_no_request(shop: Shop) -> None:
    page = shop.page()
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        shop.hookd("restart", "shop")
    assert not crowd.failures, crowd.failures[:5]
    assert crowd.pages == {page}


def test_killed_app_restarts(shop: Shop) -> None:
    page, unit = shop.page(), serving(shop)
    killed = main_process(shop, unit)
    shop.machine.run("kill", "-9", killed)
    shop.machine.wait_until(lambda: main_process(shop, unit) not in ("0", killed), 20, "the new process")
    # The request in the killed process may be lost. Later ones wait in the socket.
    shop.machine.wait_until(lambda: shop.page() == page, 20, "the page")


def serving(shop: Shop) -> str:
    """Return the unit that serves. The parent unit of two colours has no process."""
    names = ("shop-blue.service", "shop-green.service", "shop.service")
    return next(name for name in names if main_process(shop, name) != "0")


def main_process(shop: Shop, unit: str) -> str:
    """Return the process id of a unit, or 0."""
    return shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip() or "0"


@pytest.mark.promise(46)
@with_one_handover
def test_rollback_lasts_until_the_next_push(shop: Shop) -> None:
    shop.push("old")
    shop.push("new")
    shop.hookd("rollback", "shop")
    assert shop.page() == "old"
    assert "nothing" not in shop.hookd("update", "shop")
    assert shop.page() == "old"
    shop.push("newer")
    assert shop.page() == "newer"
