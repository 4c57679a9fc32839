"""The properties of a person's command: those of the app's own units, as systemd-run takes them."""

from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.units.phases import phase_unit
from tests.support.rendered import APPS, AT_HOME, HOST, SHOP, unit
from units.render.run import parse_directives, run_properties

RELEASE = Path("/srv/shop/releases/000001-0123456789ab")
# The phases print to a pipe, and have a limit for their start.
_OF_PHASES = frozenset("Description StartLimitIntervalSec Type ExecStart TimeoutStartSec WorkingDirectory".split())
_OF_COMMANDS = frozenset("Description WorkingDirectory IgnoreSIGPIPE OOMPolicy RuntimeMaxSec".split())


def named(properties: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in properties:
        found.setdefault(line.partition("=")[0], []).append(line.partition("=")[2])
    return found


@pytest.mark.threat(93)
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_sandbox_is_that_of_phases(app: App) -> None:
    release = app.root / "next"
    phase, command = unit(HOST, phase_unit(app, "check"), app), named(run_properties(app, release, 60))
    assert {key: value for key, value in command.items() if key not in _OF_COMMANDS} == {
        key: [text.replace("%%", "%") for text in value]
        for key, value in phase.items()
        if key not in _OF_PHASES and not key.startswith("Standard")
    }
    assert command["WorkingDirectory"] == [str(release)]
    assert command["RuntimeMaxSec"] == ["60"]


def test_variables_are_the_services() -> None:
    properties = named(run_properties(SHOP, RELEASE, 60))
    assert properties["EnvironmentFile"] == ["/etc/hookd/env/shop"]
    assert any(f" PATH={RELEASE}/venv/bin:" in f" {text}" for text in properties["Environment"])
    assert "EnvironmentFile" not in named(run_properties(AT_HOME, RELEASE, 60))


def test_per_cent_signs_are_literal() -> None:
    text = "# About 5%i.\n\nA=\nReadWritePaths=-/srv/100%%n\nTemporaryFileSystem=/dev/shm:size=50%\n"
    assert parse_directives(text) == ("A=", "ReadWritePaths=-/srv/100%n", "TemporaryFileSystem=/dev/shm:size=50%")


@pytest.mark.parametrize("line", ["[Service]", "A=/srv/%i", "A=one \\", "no directive", " A=b"])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no property"):
        parse_directives(f"A=b\n{line}\n")
