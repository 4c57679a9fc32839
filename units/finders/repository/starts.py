"""The commands that a project starts its processes with: Procfile, Dockerfile with its scripts, heroku.yml."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from units.finders.repository.containers import Dockerfile, dockerfiles
from units.finders.repository.project import Project
from units.finders.repository.shell import Command, read_script, read_words

_PROCFILE_LINE: Final = re.compile(r"\s*([A-Za-z0-9_-]+)\s*:\s*(.+)")
_SCRIPT: Final = re.compile(r"[\w./-]+")
_MAX_DEPTH: Final = 4
_MAX_COMMANDS: Final = 500


@dataclass(frozen=True)
class Start:
    """The commands that start one process, and the place where they were read."""

    name: str
    commands: tuple[Command, ...]
    source: str


def procfile_starts(project: Project) -> tuple[Start, ...]:
    """Return the lines of the Procfile."""
    found = []
    for number, line in enumerate(project.lines("Procfile"), 1):
        if match := _PROCFILE_LINE.fullmatch(line):
            commands = _expanded(project, read_script(match[2]))
            found.append(Start(match[1], commands, project.place("Procfile", number)))
    return tuple(found)


def web_starts(project: Project) -> Iterator[Start]:
    """Return the commands that start the web process, the most certain first."""
    yield from (one for one in procfile_starts(project) if one.name == "web")
    for dockerfile in dockerfiles(project):
        if commands := _container_commands(project, dockerfile):
            place = (dockerfile.last.get("CMD") or dockerfile.last["ENTRYPOINT"])[1]
            yield Start("web", commands, place)


def _words(text: str) -> list[str]:
    """Return the words of the exec form, or []."""
    try:
        words = json.loads(text) if text.startswith("[") else []
    except ValueError:
        return []
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _container_commands(project: Project, dockerfile: Dockerfile) -> tuple[Command, ...]:
    """Return the commands of ENTRYPOINT and CMD, with the scripts that they start."""
    variables = {name: value for name, (value, _) in dockerfile.variables.items()}
    entry, command = _form(dockerfile.text("ENTRYPOINT"), variables), _form(dockerfile.text("CMD"), variables)
    near = posixpath.dirname(dockerfile.path)
    if not entry:
        return _expanded(project, command, near, variables)
    rest = command[0].words if command else ()
    if _script(project, entry[0], near):
        given = (
            (one,) if one.words[0] != "$@" else read_words(rest) for one in _expanded(project, entry, near, variables)
        )
        return _expanded(project, tuple(command for commands in given for command in commands), near, variables)
    return _expanded(project, (replace(entry[0], words=(*entry[0].words, *rest)),), near, variables)


def _form(text: str, variables: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the commands of an instruction, in its exec or its shell form."""
    words = _words(text)
    return read_words(words) if words else read_script(text, variables)


def _expanded(
    project: Project, commands: tuple[Command, ...], near: str = "", variables: Mapping[str, str] | None = None
) -> tuple[Command, ...]:
    """Return the commands, and in place of a script of the project its own commands."""
    for _ in range(_MAX_DEPTH):
        found: list[Command] = []
        for command in commands:
            path = _script(project, command, near)
            found += read_script(project.read(path) or "", variables) if path else (command,)
        if tuple(found) == commands:
            break
        commands = tuple(found[:_MAX_COMMANDS])
    return commands


def _script(project: Project, command: Command, near: str = "") -> str | None:
    """Return the project's shell script that a command starts, or None."""
    word = (
        command.words[1] if command.program in ("sh", "bash", "source", ".") and command.words[1:] else command.words[0]
    )
    if not _SCRIPT.fullmatch(word) or ("/" not in word and not word.endswith(".sh")):
        return None
    path = file_named(project, word, near)
    if path is None or path.endswith(".py") or not _is_shell(project.read(path) or ""):
        return None
    return path


def _is_shell(text: str) -> bool:
    first = text.partition("\n")[0]
    return first.startswith("#!") and "sh" in first


def file_named(project: Project, word: str, near: str = "") -> str | None:
    """Return the project's file that a path of a container means, by its longest known end."""
    parts = [part for part in word.split("/") if part not in ("", ".", "..")]
    for place in range(len(parts)):
        end = "/".join(parts[place:])
        if path := project.first(end, posixpath.join(near, end)):
            return path
    return None
