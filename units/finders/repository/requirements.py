"""The packages that a project asks for, from requirements files, pyproject.toml, lock files and setup files."""

import ast
import configparser
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Final

from units.finders.repository.syntax import keyword, parse, source_of, texts_of

Read = Callable[[str], str | None]

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")
_EGG: Final = re.compile(r"#egg=([A-Za-z0-9._-]+)")
_INCLUDE: Final = re.compile(r"(?:-r|--requirement)[\s=]*(\S+)")
_MAX_FILES: Final = 20


def read_packages(files: frozenset[str], read: Read) -> dict[str, str]:
    """Return all packages of a project: the normalized name, and the requirement as written."""
    written = [*_of_requirements(files, read), *_of_pyproject(read), *_of_pipfile(read), *_of_setup(read)]
    found: dict[str, str] = {}
    for requirement in written:
        if match := _REQUIREMENT.match(requirement):
            found.setdefault(normalized(match[1]), requirement)
    return found


def normalized(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_toml(text: str | None) -> dict[str, Any]:
    """Return a TOML file's table, or {} if it cannot be read."""
    try:
        return tomllib.loads(text or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def read_ini(text: str | None) -> configparser.ConfigParser:
    """Return an INI file's sections, or none if it cannot be read."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text or "")
    except configparser.Error:
        return configparser.ConfigParser()
    return parser


def read_json(text: str | None) -> Any:
    """Return a JSON file's value, or {} if it cannot be read."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}


def table(value: Any, *keys: str) -> dict[str, Any]:
    """Return a table inside of nested tables, or {}."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def is_requirements(path: str) -> bool:
    """Return True for a file of requirements by its name."""
    name = posixpath.basename(path)
    in_directory = posixpath.dirname(path) in ("requirements", "reqs", "requires")
    return name.endswith((".txt", ".in", ".pip")) and (name.startswith("requirements") or in_directory)


def _of_requirements(files: frozenset[str], read: Read) -> Iterator[str]:
    """Return the requirements of the files at the top and in `requirements`, but for those of development."""
    waiting = sorted(
        path for path in files if is_requirements(path) and path.count("/") < 2 and not is_for_developers(path)
    )
    seen: set[str] = set()
    for path in waiting:
        if path in seen or len(seen) >= _MAX_FILES:
            continue
        seen.add(path)
        for line in (read(path) or "").splitlines():
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


def _of_pyproject(read: Read) -> Iterator[str]:
    parsed = read_toml(read("pyproject.toml"))
    dependencies = table(parsed, "project").get("dependencies")
    yield from (one for one in dependencies if isinstance(one, str)) if isinstance(dependencies, list) else ()
    for name, value in table(parsed, "tool", "poetry", "dependencies").items():
        yield f"{name}{_version(value)}"


def _of_pipfile(read: Read) -> Iterator[str]:
    for name, value in table(read_toml(read("Pipfile")), "packages").items():
        yield f"{name}{_version(value)}"


def _version(value: Any) -> str:
    """Return the version of a table of Poetry or Pipenv, as it is written behind a name."""
    written = value.get("version") if isinstance(value, dict) else value
    if not isinstance(written, str) or written == "*":
        return ""
    return written if written[0] in "<>=!~^" else f"=={written}"


def _of_setup(read: Read) -> Iterator[str]:
    options = read_ini(read("setup.cfg"))
    yield from (
        options.get("options", "install_requires", fallback="").split("\n") if options.has_section("options") else ()
    )
    module = parse("setup", "setup.py", read("setup.py") or "")
    for call in module.calls if module else ():
        if isinstance(call.func, ast.Name | ast.Attribute) and source_of(call.func).endswith("setup"):
            yield from texts_of(keyword(call, "install_requires"))
