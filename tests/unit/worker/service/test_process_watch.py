"""The watch of processes after their start, from systemd's properties: whose doing is the end of one?"""

from collections.abc import Iterable

import pytest

from worker.errors import ProcessFailed, ProcessKilled
from worker.service import process_watch
from worker.service.process_watch import wait_until_steady

UNIT = "shop-worker@1.service"
UP = {"ActiveState": "active", "NRestarts": "0", "MainPID": "7", "Result": "success"}
STOPPED = {**UP, "ActiveState": "inactive", "MainPID": "0"}
EXITED = {**UP, "ActiveState": "activating", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "1"}
KILLED = {**EXITED, "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}
CRASHED = {**KILLED, "ExecMainStatus": "11"}
OUT_OF_MEMORY = {**KILLED, "Result": "oom-kill"}


def watch(monkeypatch: pytest.MonkeyPatch, *seen: dict[str, str]) -> None:
    """Watch one process whose properties are these, one after the other."""
    answers = iter([*seen, seen[-1], seen[-1], seen[-1]])

    def states(units: Iterable[str]) -> dict[str, dict[str, str]]:
        return dict.fromkeys(units, next(answers))

    monkeypatch.setattr(process_watch, "states", states)
    monkeypatch.setattr(process_watch, "_PAUSE_SECONDS", 0.0)
    wait_until_steady((UNIT,), 0.0)


@pytest.mark.parametrize(
    "second", [UP, {**UP, "MainPID": "8"}, STOPPED, {**STOPPED, "ActiveState": "deactivating"}], ids=str
)
def test_person_may_stop_and_restart(monkeypatch: pytest.MonkeyPatch, second: dict[str, str]) -> None:
    watch(monkeypatch, UP, second)


@pytest.mark.parametrize("second", [EXITED, {**UP, "NRestarts": "1", "MainPID": "8"}, CRASHED], ids=str)
def test_end_by_itself_is_a_failure(monkeypatch: pytest.MonkeyPatch, second: dict[str, str]) -> None:
    with pytest.raises(ProcessFailed, match="ended by itself") as failed:
        watch(monkeypatch, UP, second)
    assert failed.type is ProcessFailed
    assert failed.value.hint.argument == UNIT


@pytest.mark.parametrize("second", [KILLED, OUT_OF_MEMORY], ids=str)
def test_kill_is_told_apart(monkeypatch: pytest.MonkeyPatch, second: dict[str, str]) -> None:
    with pytest.raises(ProcessKilled):
        watch(monkeypatch, UP, second)
