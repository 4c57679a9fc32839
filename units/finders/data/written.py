"""Data that an app writes below its own directory, and that a release would lose: shared, moved or named."""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from hookd.model.plan import Finding, Variable
from hookd.model.tables.fields import RESERVED_NAMES
from units.finders.code.project import Project
from units.finders.data.paths import DataPath, data_paths
from units.finders.found import Found
from units.finders.web.service import Service

_SUFFIX: Final = re.compile(r"_(?:dir|directory|path|folder|root|volume)$")
_CODE: Final = frozenset(("static", "templates", "translations", "locale", "node_modules", "__pycache__"))


def find_data(project: Project, service: Service) -> Found:
    """Find the directories to share, and the variables that move data out of the code."""
    shared: dict[str, str] = {}
    variables: dict[str, Variable] = {}
    remarks: dict[str, None] = {}
    for one in _distinct(data_paths(project, service)):
        directory = posixpath.dirname(one.path) if one.is_file else one.path
        if variables.keys() & set(one.variables):
            continue
        if directory and _may_be_shared(project, directory):
            shared.setdefault(project.place(directory), one.source)
        elif one.variables and (one.is_file or one.is_written):
            moved, variable = _moved(one)
            shared |= {moved: one.source} if moved and moved not in shared else {}
            variables.setdefault(variable.name, variable)
        elif _matters(project, one):
            remarks[_remark(one)] = None
    directories = outermost(shared)
    sources = ", ".join(dict.fromkeys(shared[one] for one in directories))
    findings = (Finding("shared.directories", directories, sources, proposed=True),) if directories else ()
    return Found(findings, tuple(variables.values()), tuple(remarks))


def _distinct(data: Iterable[DataPath]) -> Iterable[DataPath]:
    """Return one value for each path, with the first variables, and written if one of them is."""
    found: dict[str, DataPath] = {}
    for one in data:
        before = found.get(one.path, one)
        names = before.variables or one.variables
        found[one.path] = replace(before, variables=names, is_written=before.is_written or one.is_written)
    return found.values()


def database_file(project: Project, service: Service) -> str | None:
    """Return the SQLite file in a directory of its own, which a release links to, or None."""
    paths = (one.path for one in data_paths(project, service) if one.is_database and not one.variables)
    return next((path for path in paths if _may_be_shared(project, posixpath.dirname(path) or "venv")), None)


def _may_be_shared(project: Project, directory: str) -> bool:
    """Return True for a directory that has no file of the commit, so that a link hides nothing."""
    return directory.split("/", maxsplit=1)[0] not in RESERVED_NAMES and not project.has_files(directory)


def _moved(one: DataPath) -> tuple[str | None, Variable]:
    """Return a directory outside of the code, and the variable that moves the data there."""
    name = one.variables[0]
    if not one.is_file:
        directory = _SUFFIX.sub("", name.lower()).replace("_", "-") or "data"
        return directory, Variable(name, one.source, needed=True, example=f"{{shared}}/{directory}")
    if name.endswith("SECRET_KEY"):
        return None, Variable(name, one.source, needed=True)
    path = f"{{shared}}/data/{posixpath.basename(one.path)}"
    return "data", Variable(name, one.source, needed=True, example=f"sqlite:///{path}" if one.is_url else path)


def _matters(project: Project, one: DataPath) -> bool:
    """Return True for data that a release would lose, and no part of the code."""
    if one.path in project.files or posixpath.basename(one.path) in _CODE:
        return False
    return one.is_file or (one.is_written and project.has_files(one.path))


def _remark(one: DataPath) -> str:
    if one.is_file:
        return (
            f"{one.path} lies beside the code and is lost with each release ({one.source}): read its path from a "
            "variable, or move it into a directory of its own and name that in shared.directories."
        )
    return (
        f"{one.path} has files of the commit and is written by the app ({one.source}): move what is written to another "
        "directory, and name that in shared.directories."
    )


def outermost(directories: Iterable[str]) -> list[str]:
    """Return the directories without those inside of others, which a link may not contain."""
    listed = sorted(set(directories))
    return [one for one in listed if not any(one.startswith(f"{other}/") for other in listed)]
