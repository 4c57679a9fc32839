"""Variables: the new file contains those of the unit and of its old files."""

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values

from units.adopt.discovery.variables import (
    environment_text,
    format_variable,
    merge_variables,
    python_path,
    relative_to_root,
)

ROOT = Path("/opt/shop")


@pytest.mark.parametrize(
    "value", ["", "plain", "two words", "it's", 'say "hi"', "back\\slash", "a'b\"c\\d", "#no", "$HOME"]
)
def test_value_round_trip(value: str) -> None:
    read = dotenv_values(stream=io.StringIO(format_variable("NAME", value)), interpolate=False)
    assert read == {"NAME": value}


def test_files_override_unit_variables() -> None:
    pairs = ("COLOUR=red", "MOTTO=two words", "PATH=/opt/shop/venv/bin:/usr/bin")
    text = "# why\nCOLOUR=blue\nexport VIRTUAL_ENV=/opt/shop/venv\nKEY='a b'\n"
    made = environment_text("shop", "shop.service", pairs, {ROOT / ".env": text}, ("--timeout=45", "--env=A=1 2"))
    assert merge_variables((), [made]) == {
        "COLOUR": "blue",
        "MOTTO": "two words",
        "KEY": "a b",
        "GUNICORN_CMD_ARGS": "--timeout=45 '--env=A=1 2'",
    }
    assert "# why\n" in made
    assert "/opt/shop/.env" in made.splitlines()[0]


def test_old_environment_is_removed() -> None:
    leading = "PATH=a\n PYTHONPATH = b\nexport PYTHONHOME=c\nVIRTUAL_ENV=d\nMY_PATH=e\n"
    made = environment_text("shop", "shop.service", ("PYTHONPATH=x",), {ROOT / ".env": leading}, ())
    assert merge_variables((), [made]) == {"MY_PATH": "e"}


def test_project_paths_become_relative() -> None:
    assert python_path("/opt/shop:/opt/shop/lib::/usr/share/lib", ROOT, ROOT) == "lib,/usr/share/lib"
    assert python_path("/opt/shop", ROOT, ROOT) is None
    assert relative_to_root("", ROOT, ROOT / "src") == "src"
    assert relative_to_root("src", ROOT, ROOT) == "src"
    assert relative_to_root("/elsewhere", ROOT, ROOT) == "/elsewhere"
