"""The commands that a project starts its processes with: its Procfile, and Dockerfiles with their scripts."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from units.finders.repository.containers import Dockerfile, dockerfiles
from units.finders.repository.files import Files
from units.finders.repository.shell import SHELLS, Command, read_script, read_words

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


def procfile_starts(files: Files) -> tuple[Start, ...]:
    """Return the lines of the Procfile."""
    found = []
    for number, line in enumerate(files.lines("Procfile"), 1):
        if match := _PROCFILE_LINE.fullmatch(line):
            commands = _expanded(files, read_script(match[2]))
            found.append(Start(match[1], commands, files.place("Procfile", number)))
    return tuple(found)


def web_starts(files: Files) -> Iterator[Start]:
    """Return the commands that start the web process, the most certain first."""
    yield from (one for one in procfile_starts(files) if one.name == "web")
    for dockerfile in dockerfiles(files):
        if commands := _container_commands(files, dockerfile):
            place = (dockerfile.last.get("CMD") or dockerfile.last["ENTRYPOINT"])[1]
            yield Start("web", commands, place)


def _words(text: str) -> list[str]:
    """Return the words of the exec form, or []."""
    try:
        words = json.loads(text) if text.startswith("[") else []
    except ValueError:
        return []
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _container_commands(files: Files, dockerfile: Dockerfile) -> tuple[Command, ...]:
    """Return the commands of ENTRYPOINT and CMD, with the scripts that they start."""
    variables = {name: value for name, (value, _) in dockerfile.variables.items()}
    entry, command = _form(dockerfile.text("ENTRYPOINT"), variables), _form(dockerfile.text("CMD"), variables)
    near = posixpath.dirname(dockerfile.path)
    if not entry:
        return _expanded(files, command, near, variables)
    rest = command[0].words if command else ()
    if _script(files, entry[0], near):
        given: list[Command] = []
        for one in _expanded(files, entry, near, variables):
            given += read_words(rest) if one.words[0] == "$@" else (one,)
        return _expanded(files, tuple(given), near, variables)
    return _expanded(files, (replace(entry[0], words=(*entry[0].words, *rest)),), near, variables)


def _form(text: str, variables: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the commands of an instruction, in its exec or its shell form."""
    words = _words(text)
    return read_words(words) if words else read_script(text, variables)


def _expanded(
    files: Files, commands: tuple[Command, ...], near: str = "", variables: Mapping[str, str] | None = None
) -> tuple[Command, ...]:
    """Return the commands, and in place of a script of the project its own commands."""
    for _ in range(_MAX_DEPTH):
        found: list[Command] = []
        for command in commands:
            path = _script(files, command, near)
            found += read_script(files.read(path) or "", variables) if path else (command,)
        if tuple(found) == commands:
            break
        commands = tuple(found[:_MAX_COMMANDS])
    return commands


def _script(files: Files, command: Command, near: str = "") -> str | None:
    """Return the project's shell script that a command starts, or None."""
    is_named = command.program in (*SHELLS, "source", ".") and len(command.words) > 1
    word = command.words[1] if is_named else command.words[0]
    if not _SCRIPT.fullmatch(word) or ("/" not in word and not word.endswith(".sh")):
        return None
    path = file_named(files, word, near)
    if path is None or path.endswith(".py") or not _is_shell(files.read(path) or ""):
        return None
    return path


def _is_shell(text: str) -> bool:
    first = text.partition("\n")[0]
    return first.startswith("#!") and "sh" in first


def file_named(files: Files, word: str, near: str = "") -> str | None:
    """Return the project's file that a path of a container means, by its longest known end."""
    parts = [part for part in word.split("/") if part not in ("", ".", "..")]
    for place in range(len(parts)):
        end = "/".join(parts[place:])
        if path := files.first(end, posixpath.join(near, end)):
            return path
    return None
