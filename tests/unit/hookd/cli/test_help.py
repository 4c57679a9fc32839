"""The help of all commands: groups, an example for each, and no cut text in 80 columns."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from hookd.cli import main
from hookd.cli.main import SECTIONS

NAMES = {title: [name for names in modules.values() for name in names] for title, modules in SECTIONS.items()}


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command below a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


ALL = [(), *commands(main)]
every_command = pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(("hookd", *path)))


def help_of(path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(main, [*path, "--help"], terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


def test_each_command_is_in_one_section() -> None:
    grouped = [name for names in NAMES.values() for name in names]
    assert sorted(grouped) == sorted(main.list_commands(click.Context(main)))


def test_sections_have_one_line_per_command() -> None:
    text = help_of(())
    for title, names in NAMES.items():
        lines = text.split(f"\n{title}:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in lines] == names
        assert all(line.endswith(".") for line in lines)


@every_command
def test_texts_fit_80_columns(path: tuple[str, ...]) -> None:
    text = help_of(path)
    assert "..." not in re.sub(r"\[(ARGS|APP)\]\.\.\.", "", text)
    assert max(len(line) for line in text.splitlines()) <= 80


@every_command
def test_help_has_a_valid_example(path: tuple[str, ...]) -> None:
    """The example is in one line, names this command, and its options exist."""
    [example] = re.findall(r"^  Example: (?:sudo )?hookd ([^.\n]*\S)", help_of(path), re.MULTILINE)
    command: click.Command = main
    arguments = shlex.split(example)
    assert tuple(arguments[: len(path)]) == path
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None
        command = found
    command.make_context("example", arguments)
