"""The README says what is so: its tables are the schema's, its example is accepted, its commands exist."""

import re
import tomllib

import click
import pytest
from pydantic import BaseModel

from hookd.cli import main
from hookd.cli.progress import EXIT_CODES
from hookd.model.app import App
from hookd.model.settings import Settings
from tests.support import reference
from tests.support.processes import PROJECT

TEXT = reference.README.read_text()


@pytest.mark.parametrize("file", ["hookd.toml", "apps/<app>.toml"])
def test_a_setting_that_the_readme_does_not_list_as_it_is(file: str) -> None:
    assert reference.written(TEXT)[file] == reference.tables()[file], "python -m tests.support.reference mends it"


def test_an_example_that_the_schema_refuses() -> None:
    blocks = re.findall(r"```toml\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)
    assert {name for name, _ in blocks} == {"hookd.toml", "apps/shop.toml"}
    for name, block in blocks:
        table = tomllib.loads(block)
        (Settings if name == "hookd.toml" else App).model_validate(
            table if name == "hookd.toml" else {**table, "name": "shop"}
        )


def test_a_command_that_the_readme_names_and_nobody_can_type() -> None:
    typed = "\n".join([*re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL), *re.findall(r"`([^`\n]+)`", TEXT)])
    found = re.findall(r"^(?:sudo )?hookd ([a-z|]+)", typed, re.MULTILINE)
    named = {name for text in found for name in text.split("|")}
    assert named, "the README shows commands"
    assert named <= commands()


def test_a_command_that_the_readme_does_not_name() -> None:
    named = {name for text in re.findall(r"hookd ([a-z|]+)", TEXT) for name in text.split("|")}
    assert commands() <= named


def commands() -> set[str]:
    """Everything that can be typed after `hookd`, those for a server, too."""
    return set(main.list_commands(click.Context(main)))


def test_the_first_screen_shows_how_to_run_and_test() -> None:
    first = "\n".join(TEXT.splitlines()[:40])
    assert "./run demo" in first
    assert "./run test" in first


@pytest.mark.promise(56)
def test_an_exit_status_that_the_readme_explains_otherwise() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([a-z_, ]+)\b.* \|$", TEXT, re.MULTILINE))
    for status, code in EXIT_CODES.items():
        assert status.value in rows[str(code)].split(", "), f"{status} ends with {code}"


def test_a_page_that_is_named_and_not_there() -> None:
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT):
        assert (PROJECT / name).exists(), name


@pytest.mark.parametrize("model", [Settings, App])
def test_a_setting_that_nothing_reads(model: type[BaseModel]) -> None:
    code = "\n".join(
        file.read_text()
        for room in ("hookd", "worker", "units")
        for file in sorted((PROJECT / room).rglob("*"))
        if file.is_file() and file.name not in ("settings.py", "catalogue.py") and "__pycache__" not in file.parts
    )
    for key in reference.keys(model):
        assert re.search(rf"\.{key.rsplit('.', 1)[-1]}\b", code), f"{key} is documented and never used"
