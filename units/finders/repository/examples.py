"""Variables that files of a repository set: examples of environments and Dockerfiles."""

import re
from collections.abc import Iterator
from typing import Final

from units.finders.repository.containers import image_values
from units.finders.repository.files import Files

_FILE: Final = re.compile(r"(?:(?:docker|container|deploy)/)?(?:[\w-]*\.)?env(?:\.(?:example|sample|template|dist))?")
_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def example_values(files: Files) -> dict[str, tuple[str, str]]:
    """Return the variables of example files with their values and places. Those of the app's directory come first."""
    found = _read(files, [path for path in files.paths if _FILE.fullmatch(path)])
    above = _read(Files(files.tree), [".env.example", ".env"]) if files.directory else {}
    return {**above, **found}


def values_of(files: Files, name: str) -> Iterator[tuple[str, str]]:
    """Return the values that files give one variable, with their places."""
    for found in (_read(files, [".flaskenv"]), example_values(files), image_values(files)):
        if name in found:
            yield found[name]


def _read(files: Files, paths: list[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        for number, line in enumerate(files.lines(path), 1):
            if match := _LINE.fullmatch(line.strip()):
                value = match[2].partition(" #")[0].strip().strip("\"'")
                # One that names others, such as `${POSTGRES_PASSWORD}`, is none by itself.
                found.setdefault(match[1], ("" if "$" in value else value, files.place(path, number)))
    return found
