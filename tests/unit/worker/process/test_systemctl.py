"""The worker's calls of systemctl, and the signals in its answers. Nothing is run here."""

import pytest

from hookd.model.units.systemctl import Verb
from worker.process import systemctl
from worker.process.run import SYSTEM_PATH
from worker.process.systemctl import control_command, killing_signal, show_command, show_unit


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_sudo_command(verb: Verb) -> None:
    command = control_command(verb, "shop-blue", 60, 30)
    assert command.argv == ("/usr/bin/sudo", "-n", "/usr/bin/systemctl", verb, "shop-blue.service")
    assert command.env == {"PATH": SYSTEM_PATH}


def test_show_command_without_sudo() -> None:
    command = show_command("MainPID,NRestarts", "shop.service")
    assert command.argv == (
        "/usr/bin/systemctl", "show", "--timestamp=us+utc", "--property=MainPID,NRestarts", "--", "shop.service",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        ({"ExecMainCode": "2", "ExecMainStatus": "9"}, 9),
        ({"ExecMainCode": "3", "ExecMainStatus": "11"}, 11),
        ({"ExecMainCode": "1", "ExecMainStatus": "9"}, None),
        ({}, None),
    ],
    ids=["killed", "core dump", "ended by itself", "unknown"],
)
def test_killing_signal(unit: dict[str, str], found: int | None) -> None:
    assert killing_signal(unit) == found


@pytest.mark.parametrize(("lines", "shown"), [(["Id=shop.service"], {"Id": "shop.service"}), ([], {})])
def test_show_one_unit(monkeypatch: pytest.MonkeyPatch, lines: list[str], shown: dict[str, str]) -> None:
    monkeypatch.setattr(systemctl, "lines_of", lambda command: lines)
    assert show_unit("shop.service", "Id") == shown
