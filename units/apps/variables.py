"""Refusal of an app's variables, if systemd reads a line otherwise than it looks, before a command changes the host."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hookd.commands import edit_command
from hookd.model.app import App
from hookd.variables import Problem, find_problems
from units.system import disk
from units.system.errors import Reason, Refused

_MAX_SHOWN: Final = 8


def variable_conflicts(app: App) -> Iterator[str]:
    """Return the problems of the app's files with variables."""
    for path in app.variable_files:
        yield from describe_problems(path, find_problems(disk.read(path) or b""))


def describe_problems(path: Path, problems: list[Problem]) -> Iterator[str]:
    """Return a file's problems, the last one with the command that edits the file."""
    lines = [f"{path} {problem}" for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        lines.append(f"{path} and {len(problems) - _MAX_SHOWN} more lines")
    yield from lines[:-1]
    yield from (str(Reason(line, edit_command(str(path)))) for line in lines[-1:])


def require_plain_variables(app: App) -> None:
    """Raise Refused if systemd reads a line of the app's variables otherwise than it looks."""
    if problems := list(variable_conflicts(app)):
        raise Refused(problems)
