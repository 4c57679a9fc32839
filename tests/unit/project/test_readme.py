"""README and guides agree with the code: tables, examples, commands, exit statuses and links."""

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

TEXT = (PROJECT / "README.md").read_text()
COMMANDS = (PROJECT / "docs" / "commands.md").read_text()
CONFIGURATION = reference.PAGE.read_text()


@pytest.mark.parametrize("file", ["hookd.toml", "apps/<app>.toml"])
def test_settings_table_is_current(file: str) -> None:
    assert reference.written(CONFIGURATION)[file] == reference.tables()[file], "run python -m tests.support.reference"


def test_examples_are_accepted() -> None:
    blocks = re.findall(r"```toml\n# (\S+)\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert {name for name, _ in blocks} == {"hookd.toml", "apps/shop.toml"}
    for name, block in blocks:
        table = tomllib.loads(block)
        (Settings if name == "hookd.toml" else App).model_validate(
            table if name == "hookd.toml" else {**table, "name": "shop"}
        )


def test_named_commands_exist() -> None:
    text = TEXT + COMMANDS
    typed = "\n".join([*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])
    found = re.findall(r"^(?:sudo )?hookd ([a-z|]+)", typed, re.MULTILINE)
    named = {name for text in found for name in text.split("|")}
    assert named, "the README shows commands"
    assert named <= commands()


def test_each_command_is_named() -> None:
    named = {name for text in re.findall(r"hookd ([a-z|]+)", COMMANDS) for name in text.split("|")}
    assert commands() <= named


def commands() -> set[str]:
    """Return all commands of `hookd`, those of a server too."""
    return set(main.list_commands(click.Context(main)))


def test_first_screen_shows_the_commands() -> None:
    first = "\n".join(TEXT.splitlines()[:40])
    assert "./run demo" in first
    assert "./run test " in first
    assert "./run test all" in first


@pytest.mark.promise(56)
def test_exit_statuses_are_explained() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([a-z_, ]+)\b.* \|$", COMMANDS, re.MULTILINE))
    for status, code in EXIT_CODES.items():
        assert status.value in rows[str(code)].split(", "), f"{status} ends with {code}"


def test_linked_pages_exist() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]:
        for name in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text()):
            assert (page.parent / name).exists(), f"{page.name}: {name}"


def test_linked_sections_exist() -> None:
    pages = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *(PROJECT / "docs").glob("*.md")]
    for page in pages:
        for name, section in re.findall(r"\]\(((?!http)[^)#]*)#([^)]+)\)", page.read_text()):
            target = page.parent / name if name else page
            assert section in anchors(target.read_text()), f"{page.name}: {name}#{section}"


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's titles, as git hosts make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("model", [Settings, App])
def test_each_setting_is_read(model: type[BaseModel]) -> None:
    code = "\n".join(
        file.read_text()
        for room in ("hookd", "worker", "units")
        for file in sorted((PROJECT / room).rglob("*"))
        if file.is_file() and file.name not in ("settings.py", "catalogue.py") and "__pycache__" not in file.parts
    )
    for key in reference.keys(model):
        assert re.search(rf"\.{key.rsplit('.', 1)[-1]}\b", code), f"{key} is documented and never used"
