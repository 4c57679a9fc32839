"""Units of processes and timers."""

from typing import Any

from hookd.model.units.processes import processes_of, units_beside
from tests.support.rendered import make_entry

WORKER: dict[str, Any] = {"command": ["rq", "worker", "shop"]}
TIMER: dict[str, Any] = {"command": ["flask", "cleanup"], "schedule": "hourly"}
COLOURS = ({"units": "hookd", "handover": "blue-green"}, "unix:/run/shop-{colour}.sock:/")
SINGLE = ({"units": "hookd"}, "unix:/run/shop.sock:/")


def test_units_of_two_colours() -> None:
    processes = {"worker": {**WORKER, "count": 2, "overlap": True}, "beat": WORKER}
    app = make_entry("shop", *COLOURS, processes=processes, timers={"clean": TIMER})
    assert processes_of(app, "blue") == (
        "shop-worker-blue@1.service",
        "shop-worker-blue@2.service",
        "shop-beat-blue@1.service",
    )
    assert processes_of(app, "green", overlap=False) == ("shop-beat-green@1.service",)
    assert processes_of(app, None) == (), "no colour serves yet"
    kinds = [f"shop-{name}-{colour}@.service" for colour in ("blue", "green") for name in ("worker", "beat")]
    assert units_beside(app) == (*kinds, "shop-clean.timer", "shop-clean.service")


def test_units_without_colours() -> None:
    assert processes_of(make_entry("shop", *SINGLE, processes={"worker": WORKER}), None) == ("shop-worker@1.service",)
