"""The file that lists a project's packages, and the extras and groups for production."""

import datetime
import re
from dataclasses import replace
from typing import Final

from hookd.model.nested import table
from hookd.model.plan import Finding
from hookd.model.tables.build import LOCKS
from units.finders.code.project import Project
from units.finders.code.requirements import is_for_developers, requirements_files
from units.finders.found import Found

_PRODUCTION: Final = ("production", "prod", "server", "deploy", "web", "wsgi", "gunicorn", "heroku")
_KIN: Final = ("prod", "production", "heroku", "deploy", "base", "common", "main", "app", "requirements")
_WORKSPACE: Final = re.compile(r"(?m)^\[tool\.uv\.workspace\]")
# The age of a commit whose packages, and those that build them, have often changed too much.
_OLD: Final = datetime.timedelta(days=2 * 365)
_NEXT_DAY: Final = datetime.timedelta(days=1)


def find_dependencies(project: Project, today: datetime.date) -> Found:
    """Find the list of packages, and for an old commit the way to the packages of its day."""
    found, date = _find_list(project), project.tree.date
    if date is None or today - date < _OLD:
        return found
    remark = (
        f"This commit is of {date}. If its packages fail, take those of that day: "
        f"--set dependencies.environment.UV_EXCLUDE_NEWER={date + _NEXT_DAY}"
    )
    return replace(found, remarks=(*found.remarks, remark))


def _find_list(project: Project) -> Found:
    """Find the list of packages, the most exact first. A project's own file is found at the deployment by itself."""
    names = _extras(project)
    lock = project.first(*LOCKS)
    if not lock and _has_workspace_lock(project):
        return Found(tuple(names))
    if file := lock or _requirements(project):
        return Found((Finding("dependencies.file", file, project.place(file)), *names))
    if project.first("Pipfile"):
        return Found(remarks=("Pipfile has no Pipfile.lock: run pipenv lock, and push it.",))
    pyproject = project.toml("pyproject.toml")
    if "project" not in pyproject and table(pyproject, "tool", "poetry"):
        return Found(remarks=("pyproject.toml of Poetry has no poetry.lock: run poetry lock, and push it.",))
    if "project" in pyproject or project.first("setup.py", "setup.cfg"):
        return Found(tuple(names))
    if file := project.first("environment.yml", "environment.yaml"):
        return Found(remarks=(f"{file} is conda's: list the packages in requirements.txt, which pip can install.",))
    return Found(remarks=("No list of packages was found: add requirements.txt, or name it with dependencies.file.",))


def _has_workspace_lock(project: Project) -> bool:
    """Return True if a workspace of uv above the app's directory has a lock for it."""
    is_member = bool(project.directory) and f"{project.directory}/pyproject.toml" in project.tree.paths
    top = project.tree.read("pyproject.toml") or ""
    return is_member and "uv.lock" in project.tree.paths and bool(_WORKSPACE.search(top))


def _requirements(project: Project) -> str | None:
    """Return the file of requirements for production: with hashes, requirements.txt, or its kin."""
    files = (path for path in requirements_files(project) if not path.endswith(".in"))
    served = sorted((path for path in files if not is_for_developers(path)), key=_rank)
    hashed = [path for path in served if "--hash=" in (project.read(path) or "")]
    return next(iter((*hashed, *served)), None)


def _rank(path: str) -> tuple[bool, int, str]:
    name = re.split(r"[./_-]", path.removeprefix("requirements").strip("/.-_"))[0]
    return (path != "requirements.txt", _KIN.index(name) if name in _KIN else len(_KIN), path)


def _extras(project: Project) -> list[Finding]:
    """Return the extras and groups that are named like production."""
    pyproject = project.toml("pyproject.toml")
    found = []
    for key, written in (
        ("dependencies.extras", table(pyproject, "project", "optional-dependencies")),
        ("dependencies.groups", table(pyproject, "dependency-groups")),
    ):
        if names := [name for name in written if name.lower() in _PRODUCTION]:
            found.append(Finding(key, names, project.place("pyproject.toml"), proposed=True))
    return found
