"""Power is taken from a whole server while it deploys: it comes back serving, and ends up at the head by itself."""

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

# In the long form, of each handover.
CUTS: Final = 10
# The promise: an abandoned deployment has its ending within 20 s.
SOON: Final = 20
BOOK: Final = "/srv/shop/witness"
# The first and the last file that a checkout writes, and what starts the app.
WHOLE: Final = ("requirements.txt", "wsgi.py", "venv/bin/gunicorn")
LEFT: Final = (".*.partial", ".current.*", ".blue.*", ".green.*")


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server whose app has been deployed, and whose builds would meet if there were two at once."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        machine.write("/srv/witness.py", WITNESS)
        command = ["python3", "/srv/witness.py", BOOK, "/srv/no-gate"]
        found = Shop(machine)
        found.hookd("app", "edit", "shop", "--set", f"build.commands={json.dumps([command])}")
        yield found


@pytest.mark.threat(31)
def test_power_is_cut_at_random_moments_of_a_deployment(shop: Shop, dice: Dice, request: pytest.FixtureRequest) -> None:
    usual = seconds_of(shop.push("usual"))
    endings: Counter[str] = Counter()
    rounds = min(CUTS, dice.rounds(1))
    for number in range(rounds):
        old, new = shop.page(), f"cut {number}"
        deployment = begun(shop, new)
        time.sleep(dice.chance.uniform(0, usual))
        shop.machine.power_cut()
        assert shop.page() in (old, new)
        assert missing(shop, "current") == []
        record = ending(shop, deployment)
        assert record["status"] != "succeeded" or shop.page() == new, record
        endings[record["status"]] += 1
        head_is_live(shop, new)
    builds = shop.machine.read(BOOK).split()
    assert "overlap" not in builds
    ended = ", ".join(f"{number} {status}" for status, number in sorted(endings.items()))
    dice.count(
        f"{request.node.callspec.id}, {rounds} power cuts, records that say {ended}; {rounds} pushes, lost 0; "
        f"{len(builds)} builds, double runs 0; half releases 0"
    )


@pytest.mark.threat(31)
def test_what_nobody_was_told_of_before_the_cut_is_live_after_it(shop: Shop) -> None:
    shop.commit("untold")
    shop.machine.power_cut()
    head_is_live(shop, "untold")


@pytest.mark.threat(48)
def test_a_worker_takes_its_name_back_whoever_got_its_number_meanwhile(shop: Shop) -> None:
    """After a power cut it is another process', and most often another user's, whom /proc does not show to it."""
    unit, entry = "hookd-worker@1.service", "rq:worker:hookd-1"
    shop.machine.run("systemctl", "stop", unit)
    shop.redis("HDEL", entry, "death")
    shop.redis("HSET", entry, "pid", "1")
    shop.machine.run("systemctl", "start", unit)
    shop.machine.wait_until(lambda: shop.redis("HGET", entry, "pid") == f"b'{main_process(shop, unit)}'", SOON, unit)
    assert shop.machine.run("systemctl", "show", "--property=NRestarts", "--value", unit).stdout == "0\n"


def begun(shop: Shop, version: str) -> str:
    """Push a version and wait until its deployment runs; returns its id."""
    deployment = shop.tell(shop.commit(version))
    shop.machine.wait_until(lambda: shop.record(deployment)["status"] != "queued", what="the deployment's start")
    return deployment


def seconds_of(record: dict[str, Any]) -> float:
    """How long a deployment took."""
    return sum(float(step["seconds"]) for step in record["steps"])


def ending(shop: Shop, deployment: str) -> dict[str, Any]:
    """What the record of a deployment says soon after the worker's return, which must be an ending."""
    shop.machine.wait_until(lambda: shop.record(deployment)["status"] != "running", SOON, "an honest ending")
    record = shop.record(deployment)
    assert record["status"] in ("succeeded", "failed") and (record["status"] == "succeeded" or record["cause"]), record
    return record


def main_process(shop: Shop, unit: str) -> str:
    """The process of a unit; 0 for none."""
    return shop.machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()


def missing(shop: Shop, release: str) -> list[str]:
    """What a release below the app's directory lacks."""
    return [name for name in WHOLE if not shop.machine.path(f"/srv/shop/{release}/{name}").exists()]


def head_is_live(shop: Shop, version: str) -> None:
    """Wait until visitors see the newest version and people are told so; nothing is left half done then."""
    shop.machine.wait_until(lambda: shop.page() == version, what=version)
    shop.machine.wait_until(lambda: told(shop) == (shop.repository.head(), None, []), what="what people are told")
    assert [name for name in releases(shop) if missing(shop, f"releases/{name}")] == []
    assert half_done(shop) == []
    assert problems(shop.machine) == []


def told(shop: Shop) -> tuple[str, object, list[str]]:
    """The commit that serves, how far it is behind, and the deployments that are under way, as people are told."""
    status = json.loads(shop.hookd("status", "shop", "--json"))
    under_way = [one["id"] for one in status["deployments"] if one["status"] in ("queued", "running")]
    return status["deployed_commit"], status["lag"], under_way


def releases(shop: Shop) -> list[str]:
    """The releases with a name."""
    return sorted(path.name for path in shop.machine.path("/srv/shop/releases").glob("[0-9]*"))


def half_done(shop: Shop) -> list[str]:
    """What a killed deployment leaves: releases without a name, links on their way, environments without their mark."""
    root = shop.machine.path("/srv/shop")
    left = [path for pattern in LEFT for path in (*root.glob(pattern), *root.glob(f"releases/{pattern}"))]
    left += [venv for venv in root.glob("venvs/*") if not (venv / ".hookd-complete").exists()]
    return [str(path.relative_to(root)) for path in left]
