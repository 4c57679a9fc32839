"""The handover of processes: which ends are repeated, which prove nothing about a commit, and which do."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hookd.model.hint import Hint, HintKind
from hookd.model.journal import AppState
from tests.support.rendered import make_entry
from worker.deploy import repair
from worker.errors import CommandFailed, ProcessFailed, ProcessKilled, ReleaseKilled
from worker.service import processes
from worker.service.drift import Drift, ServiceState

APP = make_entry(
    "shop", {"units": "hookd"}, "unix:/run/shop.sock:/", processes={"worker": {"command": ["rq"], "count": 2}}
)
HINT = Hint(HintKind.SHOW_LOG)
UNITS = ("shop-worker@1.service", "shop-worker@2.service")


class Recorder:
    """Keeps the details of steps, and drops lines."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def line(self, text: str) -> None: ...

    @contextmanager
    def step(self, name: str, detail: str) -> Iterator[None]:
        self.details.append(detail)
        yield


@pytest.fixture
def task() -> Any:
    return SimpleNamespace(app=APP, recorder=Recorder())


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs that systemd is asked for. The web service runs, and every process stays up."""
    verbs: list[str] = []
    monkeypatch.setattr(processes, "_control", lambda task, verb, group, *_: verbs.append(verb))
    monkeypatch.setattr(processes, "states", lambda group: {})
    monkeypatch.setattr(processes, "read_service_state", lambda app, name: ServiceState("active"))
    monkeypatch.setattr(processes, "wait_until_steady", lambda units, seconds: None)
    return verbs


def let_fail(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Let the next watches of processes end with these errors."""
    left = list(errors)

    def watch(units: Any, seconds: float) -> None:
        if left:
            raise left.pop(0)

    monkeypatch.setattr(processes, "wait_until_steady", watch)


def test_old_processes_stop_first(task: Any, said: list[str]) -> None:
    processes.hand_over(task, None, None, "000002-b")
    assert said == ["stop", "start"]


def test_killed_process_starts_once_more(task: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    let_fail(monkeypatch, ProcessKilled("killed", hint=HINT))
    processes.hand_over(task, None, None, "000002-b")
    assert said == ["stop", "start", "start"]


def test_second_kill_blames_no_commit(task: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    let_fail(monkeypatch, *(ProcessKilled("killed", hint=HINT) for _ in range(2)))
    with pytest.raises(ReleaseKilled):
        processes.hand_over(task, None, None, "000002-b")


def test_end_by_itself_is_not_repeated(task: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    let_fail(monkeypatch, ProcessFailed("ended", hint=HINT))
    with pytest.raises(ProcessFailed):
        processes.hand_over(task, None, None, "000002-b")
    assert said == ["stop", "start"]


def test_failed_stop_blames_no_commit(task: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise CommandFailed("no answer")

    monkeypatch.setattr(processes, "_control", refuse)
    with pytest.raises(ReleaseKilled):
        processes.hand_over(task, None, None, "000002-b")


def test_stopped_app_starts_no_process(task: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "read_service_state", lambda app, name: ServiceState("inactive"))
    processes.hand_over(task, None, None, "000002-b")
    assert said == ["stop"]


def test_repair_counts_each_process(task: Any, said: list[str]) -> None:
    """The limit of starts holds for each of several that failed together."""
    drifts = [Drift("process", unit.removesuffix(".service"), "000002-b", "has failed") for unit in UNITS]
    repair._repair_processes(task, AppState(), drifts)
    assert task.recorder.details == ["; ".join(drift.key for drift in drifts)]
    assert said == ["start"]
