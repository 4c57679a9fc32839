"""Variables: the new file contains those of the unit and of its old files."""

from pathlib import Path

import pytest

from hookd.variables import misread, parse
from units.adopt.discovery.variables import environment_text, merge_variables, python_path, relative_to_root

ROOT = Path("/opt/shop")
ARGUMENTS = ("--timeout=45", "--env=A=1 2")


def test_files_override_unit_variables() -> None:
    pairs = ("COLOUR=red", "MOTTO=$two words", "PATH=/opt/shop/venv/bin:/usr/bin")
    text = "# why\nCOLOUR=blue\nVIRTUAL_ENV=/opt/shop/venv\nKEY='a b'\n"
    made = environment_text("shop", "shop.service", pairs, {ROOT / ".env": text}, ARGUMENTS)
    assert parse(made) == {
        "COLOUR": "blue",
        "MOTTO": "$two words",
        "KEY": "a b",
        "GUNICORN_CMD_ARGS": "--timeout=45 '--env=A=1 2'",
    }
    assert "# why\n" in made
    assert "/opt/shop/.env" in made.splitlines()[0]


def test_later_file_counts() -> None:
    """Each name is in one line, because a repeated name is refused."""
    texts = {ROOT / "one": "A=1\nB='1\n2'\nGUNICORN_CMD_ARGS=-w9", ROOT / "two": "B=2\nC=3"}
    made = environment_text("shop", "shop.service", ("C=0", "D=4"), texts, ARGUMENTS)
    assert parse(made) == {
        **merge_variables(("C=0", "D=4"), texts.values()),
        "GUNICORN_CMD_ARGS": "--timeout=45 '--env=A=1 2'",
    }
    assert misread(made) == []
    places = [made.index(part) for part in ("D=", "/opt/shop/one\n", "A=1", "/opt/shop/two\n", "B=2", "GUNICORN")]
    assert places == sorted(places)


def test_old_environment_is_removed() -> None:
    leading = "PATH=a\n PYTHONPATH=b\nPYTHONHOME='c\nd'\nVIRTUAL_ENV=d\nMY_PATH=e\n"
    made = environment_text("shop", "shop.service", ("PYTHONPATH=x",), {ROOT / ".env": leading}, ())
    assert parse(made) == {"MY_PATH": "e"}


@pytest.mark.parametrize("text", ["A=\0", "A=\ufffe"])
def test_unusable_file_has_no_variables(text: str) -> None:
    """It blocks the adoption later."""
    assert merge_variables(("B=1",), [text, "C=2"]) == {"B": "1", "C": "2"}


def test_project_paths_become_relative() -> None:
    assert python_path("/opt/shop:/opt/shop/lib::/usr/share/lib", ROOT, ROOT) == "lib,/usr/share/lib"
    assert python_path("/opt/shop", ROOT, ROOT) is None
    assert relative_to_root("", ROOT, ROOT / "src") == "src"
    assert relative_to_root("src", ROOT, ROOT) == "src"
    assert relative_to_root("/elsewhere", ROOT, ROOT) == "/elsewhere"
