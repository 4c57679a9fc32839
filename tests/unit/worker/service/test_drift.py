"""Drift of services, links and times, computed from values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.deployment import Step, StepName
from hookd.model.tables.service import Colour
from tests.support.apps import app
from tests.support.rendered import make_entry
from worker.service.drift import (
    DesiredState,
    Drift,
    DriftReport,
    LinkState,
    ServiceSnapshot,
    ServiceState,
    Serving,
    detect_drift,
    is_unrepaired,
)
from worker.service.manager import read_states

DIRECTORY, OTHER = "/srv/shop/releases/000002-bbbbbbbbbbbb", "/srv/shop/releases/000001-aaaaaaaaaaaa"
RELEASE = "000002-bbbbbbbbbbbb"
ONE = DesiredState(RELEASE, DIRECTORY, None)
TWO = DesiredState(RELEASE, DIRECTORY, "green")
RIGHT = LinkState(DIRECTORY, 100.0)
WRONG = LinkState(OTHER, 100.0)
UP = ServiceState("active", 200.0)
DOWN, FAILED, STARTING = ServiceState("inactive"), ServiceState("failed"), ServiceState("activating")


def single(unit: ServiceState, link: LinkState = RIGHT, units: str = "existing", socket: str = "active") -> DriftReport:
    found = {"shop": unit, "shop.socket": ServiceState(socket)}
    return detect_drift(app("restart", units), ONE, ServiceSnapshot(found, {"current": link}))


def double(**changes: Any) -> DriftReport:
    """Return the drift of an app with green serving, blue idle and the parent unit, after some changes."""
    units = {"green": UP, "blue": DOWN, "umbrella": ServiceState("active"), **changes}
    names = {"green": "shop-green", "blue": "shop-blue", "umbrella": "shop"}
    links = {name: changes.get(f"{name}_link", RIGHT) for name in ("current", "green", "blue")}
    seen = ServiceSnapshot({names[key]: units[key] for key in names}, links)
    made: App = app("blue-green", changes.get("made", "hookd"))
    return detect_drift(made, TWO, seen)


def whats(running: DriftReport) -> list[tuple[str, str]]:
    return [(drift.kind, drift.name) for drift in running.drifts]


def test_no_drift() -> None:
    assert single(UP) == DriftReport(f"shop runs {RELEASE}", serving=Serving("shop", RELEASE, UP))
    assert double() == DriftReport(f"shop-green runs {RELEASE}", serving=Serving("shop-green", RELEASE, UP))
    assert whats(double(made="existing", umbrella=ServiceState())) == []


@pytest.mark.threat(37)
@pytest.mark.parametrize(
    ("unit", "link", "drifts"),
    [
        (UP, RIGHT, []),
        (ServiceState("active", 50.0), RIGHT, ["release"]),
        (ServiceState("active", 50.0), WRONG, ["link"]),
        (ServiceState("active", 200.0), WRONG, ["link", "release"]),
        (ServiceState("active", 50.0, DIRECTORY), RIGHT, []),
        (ServiceState("active", 200.0, OTHER), RIGHT, ["release"]),
        (ServiceState("active", 200.0, f"{OTHER}/src"), RIGHT, ["release"]),
        (ServiceState("active", 200.0, f"{DIRECTORY}-old"), RIGHT, ["release"]),
        (ServiceState("active", 50.0, f"{DIRECTORY}/src"), RIGHT, []),
        (ServiceState("active", 200.0, "/srv/shop/shared/data"), RIGHT, []),
        (ServiceState("active", 50.0, "/srv/shop/shared/data"), RIGHT, ["release"]),
        (ServiceState("active", None, "/"), RIGHT, []),
        (ServiceState("active", 200.0, DIRECTORY), WRONG, ["link"]),
        (ServiceState("active"), RIGHT, []),
        (ServiceState("active", 200.0), LinkState(), ["link"]),
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
def test_release_of_a_running_service(unit: ServiceState, link: LinkState, drifts: list[str]) -> None:
    """A service runs the release that it reports, or else the one its link led to at its start."""
    assert [drift.kind for drift in single(unit, link).drifts] == drifts


@pytest.mark.parametrize(
    ("running", "is_stopped", "drifts"),
    [
        (single(FAILED), False, [("service", "shop")]),
        (single(DOWN), True, []),
        (single(DOWN, units="hookd"), True, []),
        (single(FAILED, units="hookd"), False, [("service", "shop")]),
        (single(FAILED, units="hookd", socket="inactive"), True, []),
        (single(STARTING), False, []),
        (single(ServiceState("deactivating")), False, []),
        (single(ServiceState()), False, []),
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
def test_drift_of_one_service(running: DriftReport, is_stopped: bool, drifts: list[tuple[str, str]]) -> None:
    assert (running.is_stopped, whats(running)) == (is_stopped, drifts)


@pytest.mark.parametrize(
    ("changes", "is_stopped", "drifts"),
    [
        ({"green": FAILED}, False, [("service", "shop-green")]),
        ({"green": DOWN}, False, [("service", "shop-green")]),
        ({"blue": UP}, False, [("idle", "shop-blue")]),
        ({"green": DOWN, "blue": UP}, False, [("service", "shop-green"), ("idle", "shop-blue")]),
        ({"green": DOWN, "umbrella": DOWN}, True, []),
        ({"green": FAILED, "umbrella": DOWN}, True, []),
        ({"green": DOWN, "umbrella": ServiceState(), "made": "existing"}, True, []),
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
def test_drift_of_two_colours(changes: dict[str, Any], is_stopped: bool, drifts: list[tuple[str, str]]) -> None:
    running = double(**changes)
    assert (running.is_stopped, whats(running)) == (is_stopped, drifts)


def test_link_drift_has_service_start() -> None:
    """A repaired link must look older than a service that is right."""
    older = ServiceState("active", 50.0)
    assert single(older, WRONG).drifts[0].started == 50.0
    assert not single(older, replace(RIGHT, since=49.0)).drifts


def test_read_states_of_several_units() -> None:
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
    assert read_states(lines) == {
        "shop-green.service": ServiceState("active", 1772600767.25, DIRECTORY),
        "shop-blue.service": ServiceState("inactive"),
        "shop.socket": ServiceState(),
    }


# --- processes beside the web process

WORKER_UP = ServiceState("active", 200.0)


def beside(colour: Colour | None, **units: ServiceState) -> list[tuple[str, str]]:
    """Return the drifts of an app with one worker, whose units have these states."""
    service = {"units": "hookd", "handover": "blue-green" if colour else "restart"}
    health = f"unix:/run/shop{'-{colour}' if colour else ''}.sock:/"
    made = make_entry("shop", service, health, processes={"worker": {"command": ["rq", "worker"]}})
    main = {"shop-green": UP, "shop-blue": DOWN, "shop": UP, "shop.socket": UP}
    seen = {**main, **{f"shop-{name.replace('_', '-')}@1": state for name, state in units.items()}}
    links = {"current": RIGHT, "green": RIGHT, "blue": RIGHT}
    return whats(detect_drift(made, DesiredState(RELEASE, DIRECTORY, colour), ServiceSnapshot(seen, links)))


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (WORKER_UP, []),
        (STARTING, []),
        (FAILED, ["process"]),
        (DOWN, ["process"]),
        (ServiceState("active", 50.0), ["old process"]),
    ],
)
def test_process_drifts(state: ServiceState, kinds: list[str]) -> None:
    assert beside(None, worker=state) == [(kind, "shop-worker@1") for kind in kinds]
    assert beside("green", worker_green=state) == [(kind, "shop-worker-green@1") for kind in kinds]


def test_idle_process_must_not_run() -> None:
    assert beside("green", worker_green=WORKER_UP, worker_blue=WORKER_UP) == [("idle", "shop-blue")]


def test_process_starts_three_times_daily() -> None:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    drift = Drift("process", "shop-worker@1", RELEASE, "shop-worker@1 has failed")
    starts = [
        Step(name=StepName.PROCESSES, started_at=now - timedelta(hours=age), detail=drift.key) for age in (1, 2, 23)
    ]
    other = Step(name=StepName.PROCESSES, started_at=now, detail=RELEASE)
    assert is_unrepaired(drift, [*starts, other], now)
    assert not is_unrepaired(drift, [*starts, other], now + timedelta(hours=2))
    assert not is_unrepaired(drift, [*starts[:2], other], now)
    both = [step.model_copy(update={"detail": f"process shop-worker@2 {RELEASE}; {drift.key}"}) for step in starts]
    assert is_unrepaired(drift, both, now), "one of several that failed together"
