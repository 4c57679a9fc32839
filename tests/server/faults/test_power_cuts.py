"""Power cuts of a whole server during deployments: it serves after the boot and reaches the head."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.faults.host import WITNESS
from tests.support.dice import Dice
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.well import problems

# Rounds of the long form, for each handover.
CUTS: Final = 10
# The longest time until an abandoned deployment has its ending.
ENDING_SECONDS: Final = 20
# A build sees neither /srv nor what it cannot write.
BOOK: Final = "/var/cache/hookd-build/shop/witness"
SCRIPT: Final = "/usr/local/lib/witness.py"
# The first and the last file of a checkout, and the app's program.
REQUIRED: Final = ("requirements.txt", "wsgi.py", "venv/bin/gunicorn")
LEFTOVERS: Final = (".*.partial", ".current.*", ".blue.*", ".green.*")


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with a deployed app whose builds detect a second build at the same time."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        machine.write(SCRIPT, WITNESS)
        command = ["python3", SCRIPT, BOOK, f"{BOOK}.no-gate"]
        shop = Shop(machine)
        shop.reconcile_often()
        shop.hookd("app", "edit", "shop", "--set", f"build.commands={json.dumps([command])}")
        yield shop


@pytest.mark.threat(31)
def test_power_cut_during_a_deployment(shop: Shop, dice: Dice, request: pytest.FixtureRequest) -> None:
    usual_seconds = seconds_of(shop.push("usual"))
    endings: Counter[str] = Counter()
    rounds = min(CUTS, dice.rounds(1))
    for number in range(rounds):
        old, new = shop.page(), f"cut {number}"
        deployment = start_deployment(shop, new)
        time.sleep(dice.chance.uniform(0, usual_seconds))
        shop.machine.power_cut()
        assert shop.page() in (old, new)
        assert missing(shop, "current") == []
        record = ending(shop, deployment)
        assert record["status"] != "succeeded" or shop.page() == new, record
        endings[record["status"]] += 1
        wait_for_head(shop, new)
    builds = shop.machine.read(BOOK).split()
    assert "overlap" not in builds
    counts = ", ".join(f"{number} {status}" for status, number in sorted(endings.items()))
    dice.count(
        f"{request.node.callspec.id}, {rounds} power cuts, records that say {counts}; {rounds} pushes, lost 0; "
        f"{len(builds)} builds, double runs 0; half releases 0"
    )


@pytest.mark.threat(31)
def test_undelivered_push_survives_the_cut(shop: Shop) -> None:
    shop.commit("undelivered")
    shop.machine.power_cut()
    wait_for_head(shop, "undelivered")


@pytest.mark.threat(48)
def test_worker_gets_its_name_back(shop: Shop) -> None:
    """Register again although another process of another user has the old process id."""
    unit, entry = "hookd-worker@1.service", "rq:worker:hookd-1"
    shop.machine.run("systemctl", "stop", unit)
    shop.redis("HDEL", entry, "death")
    shop.redis("HSET", entry, "pid", "1")
    shop.machine.run("systemctl", "start", unit)
    shop.machine.wait_until(
        lambda: shop.redis("HGET", entry, "pid") == f"b'{main_process(shop, unit)}'", ENDING_SECONDS, unit
    )
    assert shop.machine.run("systemctl", "show", "--property=NRestarts", "--value", unit).stdout == "0\n"


def start_deployment(shop: Shop, version: str) -> str:
    """Push a version, wait until its deployment runs, and return its id."""
    deployment = shop.deliver(shop.commit(version))
    shop.machine.wait_until(lambda: shop.record(deployment)["status"] != "queued", what="the deployment's start")
    return deployment


def seconds_of(record: dict[str, Any]) -> float:
    """Return the duration of a deployment."""
    return sum(float(step["seconds"]) for step in record["steps"])


def ending(shop: Shop, deployment: str) -> dict[str, Any]:
    """Wait for the ending of a deployment and return its record."""
    shop.machine.wait_until(lambda: shop.record(deployment)["status"] != "running", ENDING_SECONDS, "the ending")
    record = shop.record(deployment)
    assert record["status"] in ("succeeded", "failed") and (record["status"] == "succeeded" or record["cause"]), record
    return record


def main_process(shop: Shop, unit: str) -> str:
    """Return the process id of a unit, or 0."""
    return shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()


def missing(shop: Shop, release: str) -> list[str]:
    """Return the missing files of a release."""
    return [name for name in REQUIRED if not shop.machine.path(f"/srv/shop/{release}/{name}").exists()]


def wait_for_head(shop: Shop, version: str) -> None:
    """Wait until the newest version serves and is reported, and check that nothing is left over."""
    shop.machine.wait_until(lambda: shop.page() == version, what=version)
    shop.machine.wait_until(
        lambda: reported_state(shop) == (shop.repository.head(), None, []), what="the reported state"
    )
    assert [name for name in releases(shop) if missing(shop, f"releases/{name}")] == []
    assert leftovers(shop) == []
    assert problems(shop.machine) == []


def reported_state(shop: Shop) -> tuple[str, object, list[str]]:
    """Return the reported commit, lag and unfinished deployments."""
    status = shop.status()
    unfinished = [one["id"] for one in status["deployments"] if one["status"] in ("queued", "running")]
    return status["deployed_commit"], status["lag"], unfinished


def releases(shop: Shop) -> list[str]:
    """Return the names of the complete releases."""
    return sorted(path.name for path in shop.machine.path("/srv/shop/releases").glob("[0-9]*"))


def leftovers(shop: Shop) -> list[str]:
    """Return what a killed deployment left: partial releases, links and environments."""
    root = shop.machine.path("/srv/shop")
    left = [path for pattern in LEFTOVERS for path in (*root.glob(pattern), *root.glob(f"releases/{pattern}"))]
    left += [venv for venv in root.glob("venvs/*") if not (venv / ".hookd-complete").exists()]
    return [str(path.relative_to(root)) for path in left]
