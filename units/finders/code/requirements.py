"""The packages that a project asks for, from requirements files, pyproject.toml, lock files and setup files."""

import ast
import posixpath
import re
from collections.abc import Iterator
from typing import Any, Final

from packaging.utils import canonicalize_name

from hookd.model.nested import table, texts
from units.finders.code.syntax import keyword, parse, source_of, texts_of
from units.finders.repository.files import Files

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")
_EGG: Final = re.compile(r"#egg=([A-Za-z0-9._-]+)")
_INCLUDE: Final = re.compile(r"(?:-r|--requirement)[\s=]*(\S+)")
_MAX_FILES: Final = 20


def read_packages(files: Files) -> dict[str, str]:
    """Return all packages of a project: the name as indexes compare it, and the requirement as written."""
    written = [*_of_requirements(files), *_of_pyproject(files), *_of_pipfile(files), *_of_setup(files)]
    found: dict[str, str] = {}
    for requirement in written:
        if match := _REQUIREMENT.match(requirement):
            found.setdefault(canonicalize_name(match[1]), requirement)
    return found


def requirements_files(files: Files) -> list[str]:
    """Return the files of requirements by their names."""
    return [path for path in files.paths if path.count("/") < 2 and _is_requirements(path)]


def _is_requirements(path: str) -> bool:
    name = posixpath.basename(path)
    in_directory = posixpath.dirname(path) in ("requirements", "reqs", "requires")
    return name.endswith((".txt", ".in", ".pip")) and (name.startswith("requirements") or in_directory)


def _of_requirements(files: Files) -> Iterator[str]:
    """Return the requirements of the files at the top and in `requirements`, but for those of development."""
    waiting = [path for path in requirements_files(files) if not is_for_developers(path)]
    seen: set[str] = set()
    for path in waiting:
        if path in seen or len(seen) >= _MAX_FILES:
            continue
        seen.add(path)
        for line in files.lines(path):
            requirement = line.partition(" #")[0].strip()
            if include := _INCLUDE.match(requirement):
                waiting.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), include[1])))
            elif egg := _EGG.search(requirement):
                yield egg[1]
            elif requirement and not requirement.startswith(("#", "-")):
                yield requirement


def is_for_developers(path: str) -> bool:
    """Return True for a file of requirements that only developers install, by its name."""
    return bool(re.search(r"dev|test|lint|doc|local|ci\b", posixpath.basename(path)))


def _of_pyproject(files: Files) -> Iterator[str]:
    parsed = files.toml("pyproject.toml")
    yield from texts(table(parsed, "project").get("dependencies"))
    yield from map(_of_table, table(parsed, "tool", "poetry", "dependencies").items())


def _of_pipfile(files: Files) -> Iterator[str]:
    yield from map(_of_table, table(files.toml("Pipfile"), "packages").items())


def _of_table(pair: tuple[str, Any]) -> str:
    """Return a requirement of Poetry or Pipenv, with its version behind the name."""
    name, value = pair
    written = value.get("version") if isinstance(value, dict) else value
    if not isinstance(written, str) or written in ("", "*"):
        return name
    return name + (written if written[0] in "<>=!~^" else f"=={written}")


def _of_setup(files: Files) -> Iterator[str]:
    yield from files.ini("setup.cfg").get("options", "install_requires", fallback="").split("\n")
    for call in setup_calls(files):
        yield from texts_of(keyword(call, "install_requires"))


def setup_calls(files: Files) -> list[ast.Call]:
    """Return the calls of `setup` in setup.py."""
    module = parse("setup", "setup.py", files.read("setup.py") or "")
    return [one for one in module.calls if source_of(one.func).endswith("setup")] if module else []
