"""Processes and timers: their names, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.rendered import make_entry

WORKER: dict[str, Any] = {"command": ["rq", "worker", "shop"]}
TIMER: dict[str, Any] = {"command": ["flask", "cleanup"], "schedule": "hourly"}
SINGLE = ({"units": "hookd"}, "unix:/run/shop.sock:/")


@pytest.mark.parametrize("name", ["worker", "a1-b2", "mail-worker"])
def test_names_of_units_are_taken(name: str) -> None:
    assert name in make_entry("shop", *SINGLE, processes={name: WORKER}).processes


@pytest.mark.parametrize(
    "over",
    [
        *(
            {"processes": {name: WORKER}}
            for name in ("blue", "build", "in-use", "web", "Worker", "-x", "a--b", "a@b", "")
        ),
        *({"timers": {name: TIMER}} for name in ("release", "a.b", "1st")),
        {"processes": {"worker": {**WORKER, "count": 0}}},
        {"processes": {"worker": {"command": []}}},
        {"processes": {"worker": {**WORKER, "overlap": True}}},
        {"timers": {"clean": {**TIMER, "schedule": "hourly\nUser=root"}}},
        {"timers": {"clean": {**TIMER, "schedule": "%t"}}},
        {"timers": {"clean": {**TIMER, "overlap": "allow"}}},
        {"processes": {"same": WORKER}, "timers": {"same": TIMER}},
    ],
    ids=str,
)
def test_wrong_tables_are_refused(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_entry("shop", *SINGLE, **over)


def test_circus_has_no_processes() -> None:
    circus = {"manager": "circus", "endpoint": "ipc:///run/circus.sock"}
    with pytest.raises(ValidationError, match="restart_also"):
        make_entry("shop", circus, "http://127.0.0.1:8000/", processes={"worker": WORKER})
