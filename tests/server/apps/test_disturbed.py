"""A neighbour of the same user sends signals to an app: during a deployment, and while the app serves."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, good, shop_layer

DEADLINE: Final = 8
# Sends a signal to each process of the app that works in one release: for ever, or once when gunicorn has its workers.
_NEIGHBOUR: Final = """\
import os, sys, time
from contextlib import suppress
from pathlib import Path
commit, number, enough = sys.argv[1], int(sys.argv[2]), {"for ever": 1, "once": 3}[sys.argv[3]]
groups = [Path("/sys/fs/cgroup/system.slice", f"{name}.service") for name in ("shop", "shop-blue", "shop-green")]
while True:
    for group in filter(Path.exists, groups):
        try:
            pids = (group / "cgroup.procs").read_text().split()
            found = [int(pid) for pid in pids if commit in os.readlink(f"/proc/{pid}/cwd")]
            if len(found) < enough:
                continue
            time.sleep(0.5 if enough > 1 else 0)  # A new worker passes SIGTERM on to nobody.
            for pid in found:
                with suppress(ProcessLookupError):  # systemd ends the others with the first one.
                    os.kill(pid, number)
            if enough > 1:
                sys.exit()
        except OSError:
            continue
    time.sleep(0.002)
"""
# Its health page hangs while a file is there, as with a database that does not answer.
_HANGS: Final = """\
import os, time

def app(environ, start_response):
    while environ["PATH_INFO"] == "/healthz" and os.path.exists("uploads/hangs"):
        time.sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"serves"]
"""


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with short waits whose app was deployed once, for each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        shop = Shop(machine)
        # The health check takes long enough for each signal to meet it.
        health = {"deadline": DEADLINE, "timeout": 2, "steady": 4}
        shop.hookd(
            "app", "edit", "shop", *(word for key in health for word in ("--set", f"health.{key}={health[key]}"))
        )
        machine.write("/root/neighbour.py", _NEIGHBOUR)
        yield shop


@contextmanager
def neighbour(shop: Shop, commit: str, sent: signal.Signals, how: str) -> Iterator[None]:
    """Let a neighbour disturb the release of a commit during the block."""
    argv = ("python3", "/root/neighbour.py", commit[:12], str(int(sent)), how)
    shop.machine.run("systemd-run", "--quiet", "--collect", "--unit=neighbour", *argv)
    try:
        yield
    finally:
        shop.machine.run("systemctl", "stop", "neighbour.service", check=False)


def deploy(shop: Shop, commit: str) -> dict[str, Any]:
    return shop.ship(commit, 180)


def log_of(shop: Shop, record: dict[str, Any]) -> str:
    return shop.hookd("logs", record["id"])


def last(shop: Shop) -> dict[str, Any]:
    record: dict[str, Any] = shop.status()["deployments"][0]
    return record


def invocation(shop: Shop) -> tuple[str, str]:
    """Return the unit that serves, and the id of its last start."""
    for unit in ("shop-blue.service", "shop-green.service", "shop.service"):
        shown = shop.machine.run("systemctl", "show", "--property=MainPID,InvocationID", "--value", unit).stdout
        pid, _, found = shown.partition("\n")
        if pid != "0":
            return unit, found.strip()
    raise AssertionError("nothing serves")


@pytest.mark.threat(90)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=lambda sent: sent.name)
def test_one_signal_vetoes_no_commit(shop: Shop, sent: signal.Signals) -> None:
    commit = shop.commit(f"after {sent.name}")
    with neighbour(shop, commit, sent, "once"):
        record = deploy(shop, commit)
    assert record["status"] == "succeeded", record
    assert "so it is started once more" in log_of(shop, record), shop.machine.journal("shop*")
    assert [step["name"] for step in record["steps"]].count("health") == 2
    assert shop.page() == f"after {sent.name}"


@pytest.mark.threat(90)
def test_constant_kills_delay_a_commit(shop: Shop) -> None:
    before, commit = shop.page(), shop.commit("delayed")
    with neighbour(shop, commit, signal.SIGKILL, "for ever"):
        record = deploy(shop, commit)
    assert record["status"] == "rolled_back", record
    assert "was killed by SIGKILL in two starts, probably from outside" in record["cause"]
    assert shop.page() == before
    assert (shop.status()["quarantined"], shop.status()["lag"]["verdict"]) == ([], "waiting")
    shop.reconcile()
    lag = shop.status()["lag"]
    assert (lag["verdict"], "the next try is at" in lag["why"]) == ("waiting", True)
    shop.redis("DEL", "hookd:history:shop")  # The backoff.
    shop.reconcile()
    assert shop.ending(last(shop)["id"])["status"] == "succeeded"
    assert shop.page() == "delayed"


@pytest.mark.threat(84, 90)
def test_app_that_kills_itself(shop: Shop) -> None:
    fault = "exits after ready"
    before, commit = shop.page(), shop.repository.commit_and_push(good("x", {"wsgi.py": BROKEN[fault]}), fault)
    for number in (1, 2, 3):
        record = deploy(shop, commit)
        assert (record["status"], "in two starts" in record["cause"]) == ("rolled_back", True), record
        assert [bad["commit"] for bad in shop.status()["quarantined"]] == ([commit] if number == 3 else [])
    assert shop.ending(shop.deliver(commit))["status"] == "unchanged"
    assert shop.page() == before


def settled(shop: Shop) -> dict[str, Any]:
    """Reconcile as soon as the service is old enough to be asked, and return the status."""
    pid = shop.machine.run("systemctl", "show", "--property=MainPID", "--value", invocation(shop)[0]).stdout.strip()
    age = ("ps", "-o", "etimes=", "-p", pid)
    shop.machine.wait_until(lambda: int(shop.machine.run(*age).stdout) > DEADLINE, what="an older service")
    shop.reconcile()
    return shop.status()


@pytest.mark.threat(91)
def test_suspended_service_is_restarted(shop: Shop) -> None:
    """It is active, and its socket takes connections."""
    shop.push("serves")
    assert settled(shop)["healthy"] is True
    unit, before = invocation(shop)
    shop.machine.shell(f"kill -STOP $(cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs)")
    assert shop.machine.unit_state(unit) == "active"
    shop.reconcile()
    record, name = shop.ending(last(shop)["id"]), unit.removesuffix(".service")
    repaired = f"repaired: {name} is suspended: it does not answer and uses no processor time"
    assert (record["status"], record["trigger"], record["cause"]) == ("succeeded", "reconcile", repaired)
    assert shop.page() == "serves"
    assert (invocation(shop)[0], invocation(shop)[1] != before) == (unit, True)
    assert (shop.status()["healthy"], shop.status()["drift"]) == (True, None)


@pytest.mark.threat(37, 91)
def test_hung_database_restarts_nothing(shop: Shop) -> None:
    shop.push("hangs", {"wsgi.py": _HANGS})
    assert settled(shop)["healthy"] is True
    (unit, before), deployment = invocation(shop), last(shop)["id"]
    shop.machine.run("touch", "/srv/shop/current/uploads/hangs", user="www-data")
    for _ in range(3):
        shop.reconcile()
    status = json.loads(shop.hookd("status", "shop", "--json"))
    problem = f"{unit.removesuffix('.service')} is unhealthy: its health page gives no answer for 2 s"
    assert (status["healthy"], status["drift"]) == (False, problem)
    assert "next: hookd doctor shop" in shop.hookd("status", "shop")
    assert (invocation(shop), last(shop)["id"]) == ((unit, before), deployment)
    shop.machine.run("rm", "/srv/shop/current/uploads/hangs")
    assert settled(shop)["healthy"] is True
