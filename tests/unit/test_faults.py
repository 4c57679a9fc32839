"""What is wrong with what runs: every service, link and time, judged from values."""

from dataclasses import replace
from typing import Any

import pytest

from hookd.contract.catalogue import App
from tests.unit.test_doctor_services import app
from worker.faults import Link, Running, Seen, Unit, Wanted, judge
from worker.running import read_units

DIRECTORY, OTHER = "/srv/shop/releases/000002-bbbbbbbbbbbb", "/srv/shop/releases/000001-aaaaaaaaaaaa"
RELEASE = "000002-bbbbbbbbbbbb"
ONE = Wanted(RELEASE, DIRECTORY, None)
TWO = Wanted(RELEASE, DIRECTORY, "green")
RIGHT = Link(DIRECTORY, 100.0)
WRONG = Link(OTHER, 100.0)
UP = Unit("active", 200.0)
DOWN, FAILED, STARTING = Unit("inactive"), Unit("failed"), Unit("activating")


def single(unit: Unit, link: Link = RIGHT, units: str = "existing", socket: str = "active") -> Running:
    found = {"shop": unit, "shop.socket": Unit(socket)}
    return judge(app("restart", units), ONE, Seen(found, {"current": link}))


def double(**changes: Any) -> Running:
    """Green serves, blue is idle, and the unit that stands for both is there; all as it should be but the changes."""
    units = {"green": UP, "blue": DOWN, "umbrella": Unit("active"), **changes}
    names = {"green": "shop-green", "blue": "shop-blue", "umbrella": "shop"}
    links = {name: changes.get(f"{name}_link", RIGHT) for name in ("current", "green", "blue")}
    seen = Seen({names[key]: units[key] for key in names}, links)
    made: App = app("blue-green", changes.get("made", "hookd"))
    return judge(made, TWO, seen)


def whats(running: Running) -> list[tuple[str, str]]:
    return [(fault.kind, fault.name) for fault in running.faults]


def test_what_is_right_is_left_alone() -> None:
    assert single(UP) == Running(f"shop runs {RELEASE}")
    assert double() == Running(f"shop-green runs {RELEASE}")
    assert whats(double(made="existing", umbrella=Unit())) == []


@pytest.mark.threat(37)
@pytest.mark.parametrize(
    ("unit", "link", "faults"),
    [
        (UP, RIGHT, []),
        (Unit("active", 50.0), RIGHT, ["release"]),
        (Unit("active", 50.0), WRONG, ["link"]),
        (Unit("active", 200.0), WRONG, ["link", "release"]),
        (Unit("active", 50.0, DIRECTORY), RIGHT, []),
        (Unit("active", 200.0, OTHER), RIGHT, ["release"]),
        (Unit("active", 200.0, f"{OTHER}/src"), RIGHT, ["release"]),
        (Unit("active", 200.0, f"{DIRECTORY}-old"), RIGHT, ["release"]),
        (Unit("active", 50.0, f"{DIRECTORY}/src"), RIGHT, []),
        (Unit("active", 200.0, "/srv/shop/shared/data"), RIGHT, []),
        (Unit("active", 50.0, "/srv/shop/shared/data"), RIGHT, ["release"]),
        (Unit("active", None, "/"), RIGHT, []),
        (Unit("active", 200.0, DIRECTORY), WRONG, ["link"]),
        (Unit("active"), RIGHT, []),
        (Unit("active", 200.0), Link(), ["link"]),
    ],
    ids=[
        "younger than its link",
        "older than its link",
        "older than somebody's hand",
        "younger than somebody's hand",
        "says that it is right",
        "says that it is wrong",
        "says that it is within a wrong one",
        "says that it is beside the right one",
        "went into a directory of the right one",
        "went elsewhere, and is younger than its link",
        "went elsewhere, and is older than its link",
        "went elsewhere, and says nothing more",
        "says that it is right, and the link is not",
        "says nothing",
        "there is no link",
    ],
)
def test_a_service_runs_what_it_says_or_else_what_its_link_led_to_when_it_started(
    unit: Unit, link: Link, faults: list[str]
) -> None:
    assert [fault.kind for fault in single(unit, link).faults] == faults


@pytest.mark.parametrize(
    ("running", "stopped", "faults"),
    [
        (single(FAILED), False, [("service", "shop")]),
        (single(DOWN), True, []),
        (single(DOWN, units="hookd"), True, []),
        (single(FAILED, units="hookd"), False, [("service", "shop")]),
        (single(FAILED, units="hookd", socket="inactive"), True, []),
        (single(STARTING), False, []),
        (single(Unit("deactivating")), False, []),
        (single(Unit()), False, []),
    ],
    ids=[
        "failed",
        "stopped",
        "waits for its first request",
        "failed behind its socket",
        "stopped with its socket, and did not end well",
        "starting again and again",
        "stopping",
        "there is no such unit",
    ],
)
def test_one_service(running: Running, stopped: bool, faults: list[tuple[str, str]]) -> None:
    assert (running.stopped, whats(running)) == (stopped, faults)


@pytest.mark.parametrize(
    ("changes", "stopped", "faults"),
    [
        ({"green": FAILED}, False, [("service", "shop-green")]),
        ({"green": DOWN}, False, [("service", "shop-green")]),
        ({"blue": UP}, False, [("second", "shop-blue")]),
        ({"green": DOWN, "blue": UP}, False, [("service", "shop-green"), ("second", "shop-blue")]),
        ({"green": DOWN, "umbrella": DOWN}, True, []),
        ({"green": FAILED, "umbrella": DOWN}, True, []),
        ({"green": DOWN, "umbrella": Unit(), "made": "existing"}, True, []),
        ({"current_link": WRONG}, False, [("link", "current")]),
        ({"green_link": WRONG}, False, [("link", "green"), ("release", "shop-green")]),
        ({"green_link": RIGHT, "blue_link": WRONG}, False, []),
    ],
    ids=[
        "the one that serves has failed",
        "the one that serves is gone",
        "both run",
        "the wrong one runs",
        "stopped",
        "stopped, and did not end well",
        "stopped, where nothing stands for both",
        "current moved by hand",
        "the colour's link moved by hand",
        "the idle one's link is the next deployment's",
    ],
)
def test_two_colours(changes: dict[str, Any], stopped: bool, faults: list[tuple[str, str]]) -> None:
    running = double(**changes)
    assert (running.stopped, whats(running)) == (stopped, faults)


def test_a_link_that_is_mended_gets_the_time_of_a_service_that_is_right() -> None:
    older = Unit("active", 50.0)
    assert single(older, WRONG).faults[0].started == 50.0
    assert not single(older, replace(RIGHT, since=49.0)).faults


def test_what_systemd_printed_of_several_units_is_told_apart() -> None:
    lines = [
        "ExecMainStartTimestamp=Wed 2026-03-04 05:06:07.250000 UTC",
        "StatusText=release /srv/shop/releases/000002-bbbbbbbbbbbb",
        "Id=shop-green.service",
        "LoadState=loaded",
        "ActiveState=active",
        "ExecMainStartTimestamp=",
        "StatusText=Gunicorn arbiter booted",
        "Id=shop-blue.service",
        "LoadState=loaded",
        "ActiveState=inactive",
        "Id=shop.socket",
        "LoadState=not-found",
        "ActiveState=inactive",
    ]
    assert read_units(lines) == {
        "shop-green.service": Unit("active", 1772600767.25, DIRECTORY),
        "shop-blue.service": Unit("inactive"),
        "shop.socket": Unit(),
    }
