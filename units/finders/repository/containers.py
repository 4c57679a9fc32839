"""Containers of a project: its Dockerfiles and compose files, which say how it starts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from units.finders.repository.files import Files
from units.finders.repository.shell import expand, logical_lines

_DOCKERFILE: Final = re.compile(r"(?:[\w.-]+/)?(?:Dockerfile(?:\.\w+)?|[\w-]+\.[Dd]ockerfile)")
_NOT_SERVING: Final = re.compile(r"(?i)dev|test|builder|node|front|docs|playwright|devcontainer")
_PAIR: Final = re.compile(r"([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)")
_COMPOSE: Final = ("compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml")
_MAX_DOCKERFILES: Final = 5


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile. `last` has the text and the place of each instruction of the last stage by its name.

    Variables and the commands of builds are those of all stages.
    """

    path: str
    last: Mapping[str, tuple[str, str]]
    variables: Mapping[str, tuple[str, str]]
    builds: tuple[str, ...]

    def text(self, name: str) -> str:
        """Return the text of an instruction, or an empty one."""
        return self.last.get(name, ("", ""))[0]


def dockerfiles(files: Files) -> list[Dockerfile]:
    """Return the Dockerfiles of the project that may serve, those at the top first."""
    paths = [path for path in files.paths if _DOCKERFILE.fullmatch(path) and not _NOT_SERVING.search(path)]
    nearest = sorted(paths, key=lambda path: (path.count("/"), path))
    return [_read_dockerfile(files, path) for path in nearest[:_MAX_DOCKERFILES]]


def _read_dockerfile(files: Files, path: str) -> Dockerfile:
    last: dict[str, tuple[str, str]] = {}
    arguments: dict[str, str] = {}
    variables: dict[str, tuple[str, str]] = {}
    builds: list[str] = []
    for number, line in logical_lines(files.read(path) or ""):
        word, rest = [*line.split(maxsplit=1), "", ""][:2]
        place = files.place(path, number)
        match word.upper():
            case "FROM":
                last = {"FROM": (expand(rest, arguments), place)}
            case "ARG":
                arguments |= _pairs(rest)
            case "ENV":
                variables |= {name: (value, place) for name, value in _pairs(rest).items()}
            case "RUN":
                builds.append(rest)
            case name:
                last[name] = (rest.strip(), place)
    return Dockerfile(path, last, variables, tuple(builds))


def _pairs(text: str) -> dict[str, str]:
    """Return the variables of an instruction, also of the old form `ENV NAME value`."""
    name, _, value = text.partition(" ")
    if "=" not in name:
        return {name: value.strip()}
    return {name: value.strip("\"'") for name, value in _PAIR.findall(text)}


def image_values(files: Files) -> dict[str, tuple[str, str]]:
    """Return the variables that Dockerfiles set, with their places."""
    return {name: value for one in reversed(dockerfiles(files)) for name, value in one.variables.items()}


def compose_lines(files: Files) -> Iterator[tuple[str, str]]:
    """Return the lines of compose files with their places, those of the app's directory first."""
    for one in (files, Files(files.tree)) if files.directory else (files,):
        for path in _COMPOSE:
            yield from ((line, one.place(path, number)) for number, line in enumerate(one.lines(path), 1))
