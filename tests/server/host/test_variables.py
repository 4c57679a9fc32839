"""systemd itself reads files of variables exactly as hookd does, on both supported versions."""

from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from hookd.variables import UnusableVariables, misread, parse
from tests.support.dice import Dice
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.variables import CASE, READINGS

_UNIT: Final = """\
[Service]
Type=oneshot
EnvironmentFile=/run/variables/%i
ExecStart=/bin/cp /proc/self/environ /run/variables/%i.read
"""
_AT_ONCE: Final = 100
_PIECES: Final = (
    *("A", "B", "=", "=", "'", '"', "\\", "\n", "\n", " ", "\t", "\r", "#", ";", "$", "`", "x", "é", "-", "1"),
    *("export ", "\ufffe", "\ufeff", "\x01", "\x0b", "\xa0", "\n\nC=c\n", '="', '"\n', "='", "'\n"),
)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def server(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A server whose template unit `read@.service` writes its variables down."""
    with servers.start(suite=request.param) as machine:
        machine.write("/etc/systemd/system/read@.service", _UNIT)
        machine.run("systemctl", "daemon-reload")
        yield machine


def read(server: Machine, texts: Sequence[str]) -> list[dict[str, str] | None]:
    """Return systemd's reading of each text, or None for a file that it refuses."""
    server.run("rm", "-rf", "/run/variables")
    numbers = range(len(texts) + 1)
    for number in numbers:
        server.write(f"/run/variables/{number}", [*texts, ""][number])
    units = [f"read@{number}.service" for number in numbers]
    for first in range(0, len(units), _AT_ONCE):
        server.run("systemctl", "start", *units[first : first + _AT_ONCE], check=False)
    server.run("systemctl", "reset-failed")
    *found, of_systemd = (_variables(server, f"/run/variables/{number}.read") for number in numbers)
    assert of_systemd is not None
    return [one and {name: value for name, value in one.items() if name not in of_systemd} for one in found]


def _variables(server: Machine, path: str) -> dict[str, str] | None:
    try:
        content = server.path(path).read_bytes().decode()
    except FileNotFoundError:
        return None
    return dict(item.split("=", 1) for item in content.split("\0") if item)


def hookd_reads(text: str) -> dict[str, str] | None:
    try:
        return parse(text)
    except UnusableVariables:
        return None


def test_table_is_systemds(server: Machine) -> None:
    assert dict(zip(READINGS, read(server, list(READINGS)), strict=True)) == READINGS


def test_random_texts_are_read_alike(server: Machine, dice: Dice) -> None:
    """The only difference of versions, a comment that ends with a backslash, is among the refused lines."""
    made = ("".join(dice.chance.choices(_PIECES, k=dice.chance.randrange(1, 25))) for _ in range(dice.rounds(4) * 100))
    texts = [text for text in made if "this comment swallows" not in str(misread(text))]
    differences = [pair for pair in zip(texts, read(server, texts), strict=True) if hookd_reads(pair[0]) != pair[1]]
    assert differences == []
    assert sum(bool(hookd_reads(text)) for text in texts) > len(texts) / 20, "some texts have variables"


def test_longest_value(server: Machine) -> None:
    """A longer one is refused, because no program starts with it."""
    fits, too_long = f"A={'x' * 131_069}\n", f"A={'x' * 131_070}\n"
    assert (misread(fits), len(misread(too_long))) == ([], 1)
    assert read(server, [fits, too_long]) == [parse(fits), None]


def test_old_and_new_comment(server: Machine) -> None:
    """The text of which each version reads something else is refused."""
    text = "# a comment \\\nA=1\nB=2\n"
    version = int(server.run("systemctl", "--version").stdout.split()[1])
    assert read(server, [text]) == [{"A": "1", "B": "2"} if version >= 254 else {"B": "2"}]
    assert [problem.line for problem in misread(text)] == [1]


def test_case_lines(server: Machine) -> None:
    (found,) = read(server, [CASE])
    assert found == parse(CASE)
    assert {name for name, value in found.items() if value == "same"} == {"T_PLAIN"}
