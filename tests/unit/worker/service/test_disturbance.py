"""The end of a service's process: by a signal, or by itself."""

from typing import Any

import pytest

from tests.support.apps import app
from worker.errors import CommandFailed
from worker.service import disturbance
from worker.service.disturbance import find_disturbance, is_suspended, read_disturbance
from worker.service.drift import ServiceState

RUNS = {"MainPID": "17", "Result": "success", "ExecMainCode": "0", "ExecMainStatus": "0", "StatusErrno": "0"}
UP = ServiceState("active", 100.0, None, 5_000)


def ended(result: str, code: int, status: int, **more: str) -> dict[str, str]:
    """Return what systemd 252 and 257 show of a unit whose process has ended."""
    found = {"MainPID": "0", "Result": result, "ExecMainCode": str(code), "ExecMainStatus": str(status)}
    return {**RUNS, **found, **more}


@pytest.mark.threat(90)
@pytest.mark.parametrize(
    ("unit", "found"),
    [
        (ended("signal", 2, 9), "was killed by SIGKILL"),
        (ended("signal", 2, 34), "was killed by SIGRTMIN"),
        (ended("signal", 2, 40), "was killed by signal 40"),
        (ended("core-dump", 3, 11), "was killed by SIGSEGV"),
        (ended("protocol", 2, 15), "was killed by SIGTERM"),
        (ended("oom-kill", 2, 9), "was killed for lack of memory"),
        (ended("success", 1, 0), "was told to end by a signal"),
        (ended("timeout", 2, 9), "was not ready in time"),
        ({**RUNS, "StatusErrno": "4"}, "lost a worker process to a signal"),
    ],
)
def test_signals_are_found(unit: dict[str, str], found: str) -> None:
    assert read_disturbance(unit, is_gunicorn=True) == found


@pytest.mark.parametrize(
    ("unit", "is_gunicorn"),
    [
        (RUNS, True),
        ({}, True),
        (ended("exit-code", 1, 3), True),
        (ended("exit-code", 1, 203), True),
        (ended("watchdog", 2, 6), True),
        (ended("success", 1, 0), False),
        (ended("timeout", 2, 15), False),
        ({**RUNS, "StatusErrno": "4"}, False),
    ],
)
def test_own_end_is_no_disturbance(unit: dict[str, str], is_gunicorn: bool) -> None:
    assert read_disturbance(unit, is_gunicorn=is_gunicorn) is None


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (UP, UP, True),
        (UP, ServiceState("active", 100.0, None, 5_001), False),
        (UP, ServiceState("active", 102.0, None, 5_000), False),
        (ServiceState("active", 100.0), ServiceState("active", 100.0), False),
        (ServiceState("activating", 100.0, None, 5), ServiceState("activating", 100.0, None, 5), False),
    ],
    ids=["no time", "some time", "another process", "time unknown", "between two starts"],
)
def test_processor_time_of_suspension(
    monkeypatch: pytest.MonkeyPatch, before: ServiceState, now: ServiceState, expected: bool
) -> None:
    states = iter([before, now])
    monkeypatch.setattr(disturbance, "read_service_state", lambda *_: next(states))
    monkeypatch.setattr(disturbance, "_IDLE_SECONDS", 0)
    assert is_suspended(app(), "shop-blue") is expected


def test_other_servers_may_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance, "read_service_state", lambda *_: UP)
    monkeypatch.setattr(disturbance, "_IDLE_SECONDS", 0)
    assert not is_suspended(app(units="existing"), "shop-blue")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The properties of a unit. All processes are suspended."""
    properties = dict(RUNS)
    monkeypatch.setattr(disturbance, "show_unit", lambda *_: properties)
    monkeypatch.setattr(disturbance, "is_suspended", lambda *_: True)
    return properties


def test_only_a_silent_service_is_suspended(shown: dict[str, str]) -> None:
    assert find_disturbance(app(), "shop-blue", is_silent=True) == "was suspended"
    assert find_disturbance(app(), "shop-blue", is_silent=False) is None


def test_disturbance_of_a_unit(shown: dict[str, str]) -> None:
    shown.update(ended("success", 1, 0))
    assert find_disturbance(app(), "shop-blue", is_silent=False) == "was told to end by a signal"
    assert find_disturbance(app(units="existing"), "shop-blue", is_silent=False) is None


def test_unknown_end_is_no_disturbance(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: str) -> dict[str, str]:
        raise CommandFailed("systemd does not answer")

    monkeypatch.setattr(disturbance, "show_unit", fails)
    assert find_disturbance(app(), "shop-blue", is_silent=True) is None
    circus: dict[str, Any] = {"manager": "circus", "endpoint": "ipc:///run/circus.sock", "handover": "blue-green"}
    assert find_disturbance(app(service=circus), "shop-blue", is_silent=True) is None
